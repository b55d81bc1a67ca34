"""`nearfar explain`: samples as users name them, the figure, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nearfar
from nearfar.cli import main
from nearfar.errors import ConfigError, DataError, OutputError, RunError
from nearfar.inspection.explain.figure import is_figure


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    rows = [f"{i},{rng.integers(90)},{'red' if i % 2 else 'blue'}" for i in range(40)]
    path = tmp_path_factory.mktemp("explain") / "rows.csv"
    path.write_text("\n".join(["age,size,colour", *rows]))
    return path


@pytest.fixture(scope="module")
def run(table: Path, tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = tiny_settings | {"encoder": "mlp", "width": None, "hidden": 8, "evaluate": False, "quiet": True}
    out = tmp_path_factory.mktemp("explain") / "run"
    nearfar.train(str(table), out=out, **{name: value for name, value in settings.items() if value is not None})
    return out


def test_samples_are_rows_of_files_json_mappings_and_keys_of_data(run: Path, table: Path) -> None:
    row = {"age": 3, "size": 5, "colour": "red"}
    found = nearfar.explain(run, row, json.dumps(row))
    assert found.similarity == pytest.approx(1, abs=1e-5)
    assert list(found.a.parts.names) == ["age: 3", "size: 5", "colour: red"]
    assert found.a.name == json.dumps(row)
    by_row = nearfar.explain(run, f"{table}#4", f"{table}#7")
    by_key = nearfar.explain(run, "rows.csv#4", "rows.csv#7", within=table)
    assert by_row.similarity == by_key.similarity
    np.testing.assert_array_equal(by_row.b.heat["occlusion"], by_key.b.heat["occlusion"])


def test_the_command_says_what_matters_and_writes_the_figure(run: Path, table: Path, capsys: Any) -> None:
    figure = run / "why.png"
    words = ["explain", str(run), f"{table}#4", f"{table}#7", "-o", str(figure), "--faithfulness", "--quiet"]
    assert main(words) == 0
    said = capsys.readouterr().out
    for word in ("cosine", "age: 4", "occlusion", "random", str(figure)):
        assert word in said
    assert is_figure(figure)
    assert main(words) == 0, "a figure is replaced by another one"
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["a"]["occlusion"]) == len(found["a"]["parts"]) == 3
    assert set(found["faithfulness"]) == {"occlusion", "position", "random"}


def test_what_is_there_and_no_figure_is_left_as_it_is(run: Path, table: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (4, 4)).save(photo)
    before = photo.read_bytes()
    with pytest.raises(OutputError, match="no figure of nearfar explain"):
        nearfar.explain(run, f"{table}#4", f"{table}#7", out=photo)
    assert photo.read_bytes() == before
    with pytest.raises(ConfigError, match=r"must end in \.png"):
        nearfar.explain(run, f"{table}#4", f"{table}#7", out=tmp_path / "why.jpg")


def test_what_is_no_sample_is_refused(run: Path, table: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'nothing' is no sample for this encoder: .* A row of a file is FILE#3"):
        nearfar.explain(run, "nothing", f"{table}#7")
    with pytest.raises(DataError, match="no sample '99'"):
        nearfar.explain(run, f"{table}#99", f"{table}#7")
    with pytest.raises(DataError, match="no column 'colour'"):
        nearfar.explain(run, {"age": 3, "size": 5}, f"{table}#7")
    with pytest.raises(RunError, match="no run folder"):
        nearfar.explain(tmp_path / "none", f"{table}#4", f"{table}#7")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match=r"empty\.csv"):
        nearfar.explain(run, f"{tmp_path / 'empty.csv'}#0", f"{table}#7")


def test_pairs_are_explained_by_the_keys_of_their_sides(tmp_path: Path) -> None:
    from tests.modalities.pairs.test_pairs_encoder import built

    _, encoder, _ = built(tmp_path)
    data = next(tmp_path.glob("pairs.*"))
    found = nearfar.explain(encoder, "red.png", f"{data.name}#0", within=data)
    assert found.a.parts.grid is not None
    assert list(found.b.parts.names) == ["a", "red", "thing"]
    beside = nearfar.explain(encoder, str(tmp_path / "red.png"), "a red thing")
    assert found.similarity == pytest.approx(beside.similarity, abs=1e-5)
