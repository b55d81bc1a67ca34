"""A map from a file or a run to a page and a table of places."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nearfar as nf
from nearfar.api.run import Run
from nearfar.cli import main
from nearfar.data.embeddings import Embeddings
from nearfar.errors import ConfigError, DataError, UnknownName

Finished = tuple[Path, Run]


def file_at(path: Path, count: int = 40, **columns: list[object]) -> Path:
    rng = np.random.default_rng(0)
    labels = ["ab"[i % 2] for i in range(count)]
    vectors = rng.normal(size=(count, 6)).astype(np.float32) + 4 * np.eye(2, 6, dtype=np.float32)[np.arange(count) % 2]
    Embeddings(vectors, [f"{i:03}" for i in range(count)], labels).save(path)
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)
    return path


def data_of(page: Path) -> dict[str, object]:
    text = page.read_text(encoding="utf-8")
    found: dict[str, object] = json.loads(text.split('id="data">')[1].split("</script>")[0])
    return found


def test_places_stand_in_the_file_with_the_vectors_and_all_columns(tmp_path: Path) -> None:
    file = file_at(tmp_path / "v.parquet", split=["train", "test"] * 20)
    made = nf.map(file, by="pca")
    assert (made.page, made.path) == (tmp_path / "v.html", tmp_path / "v.map.parquet")
    table = pq.read_table(made.path)
    assert table.column_names == ["key", "label", "vector", "split", "x", "y", "cluster", "neighbors"]
    assert np.allclose(table["x"].to_numpy(), made.xy[:, 0])
    assert pq.read_table(file)["vector"].equals(table["vector"].cast(pq.read_table(file)["vector"].type))
    near = table["neighbors"].to_pylist()[5]
    assert len(near["ids"]) == len(near["distances"]) == 10
    assert 5 not in near["ids"]
    assert all(i % 2 for i in near["ids"])  # of the same label, and rows by number
    # What is written is a file of embeddings as any other, and is mapped again.
    again = nf.map(made.path, out=tmp_path / "again.html", by="pca")
    assert np.array_equal(again.xy, made.xy)
    assert pq.read_table(again.path).column_names == table.column_names


def test_the_page_offers_the_label_clusters_and_columns_and_begins_with_the_one_asked_for(tmp_path: Path) -> None:
    file = file_at(tmp_path / "v.parquet", split=["train", "test"] * 20, size=[i / 3 for i in range(40)])
    page = nf.map(file, by="pca", colour="size").page
    data = data_of(page)
    columns = data["colours"]
    assert isinstance(columns, list)
    assert [one["name"] for one in columns] == ["label", "cluster", "split", "size"]
    assert data["chosen"] == 3
    assert "trustworthiness" in str(data["fidelity"])


def test_a_run_is_mapped_with_what_its_samples_look_like(finished: Finished, tmp_path: Path) -> None:
    made = nf.map(finished[1].path, out=tmp_path / "m.html", by="pca")
    data = data_of(made.page)
    samples = data["samples"]
    assert isinstance(samples, list)
    assert all(one[2] is not None for one in samples)  # a picture
    assert data["origin"] == str(finished[0])
    assert made.colour == "label"


def test_of_many_samples_a_part_is_shown_and_all_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearfar.api.map._SHOWN", 25)
    made = nf.map(file_at(tmp_path / "v.parquet"), by="pca")
    data = data_of(made.page)
    items = data["items"]
    assert isinstance(items, list)
    assert len(items) == made.shown == 25
    assert "25 of 40 samples are shown" in made.notes[0]
    assert len(pq.read_table(made.path)) == 40


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"colour": "splt"}, UnknownName, "Did you mean 'split'"),
        ({"by": "tnse"}, UnknownName, "tsne"),
        ({"out": "m.png"}, ConfigError, "must end in .html or .parquet"),
        ({"out": "v.parquet"}, ConfigError, "holds what is mapped"),
        ({"within": "data"}, ConfigError, "--in is for a run"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, str], error: type[Exception], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file_at(Path("v.parquet"), split=["train", "test"] * 20)
    before = Path("v.parquet").read_bytes()
    with pytest.raises(error, match=words):
        nf.map("v.parquet", **how)
    assert [file.name for file in tmp_path.iterdir()] == ["v.parquet"]
    assert Path("v.parquet").read_bytes() == before


def test_labels_that_are_not_there_and_single_vectors_are_refused(tmp_path: Path) -> None:
    bare = Embeddings(np.eye(3, dtype=np.float32), ["a", "b", "c"])
    with pytest.raises(ConfigError, match="no labels to colour by"):
        nf.map(bare, out=tmp_path / "m.html", colour="label")
    with pytest.raises(DataError, match="a map needs two"):
        nf.map(Embeddings(np.ones((1, 3), np.float32), ["a"]), out=tmp_path / "m.html")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="cannot be read as embeddings"):
        nf.map(tmp_path / "broken.parquet")


def test_the_command_says_what_was_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = file_at(tmp_path / "v.parquet")
    assert main(["map", str(file), "--by", "pca", "--json", "--quiet"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["samples"], said["by"], said["page"]) == (40, "pca", str(tmp_path / "v.html"))
    assert said["fidelity"]["k"] == 10
    assert main(["map", str(file), "-o", "m.png"]) == 2
    assert "--out must end in .html or .parquet" in capsys.readouterr().err
