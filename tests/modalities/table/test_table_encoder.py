"""The encoder of rows: its inputs as users have them, its settings, its config."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfar.errors import ConfigError, DataError, UnknownName
from nearfar.methods.classify import Classify, ClassifyOptions
from nearfar.modalities.table import MODALITY, TableOptions
from nearfar.modalities.table.encoder import TableEncoder
from nearfar.modalities.table.source import TableSource
from nearfar.options import Facts
from tests.modalities.table.opening import opened


@pytest.fixture
def source(tmp_path: Path) -> TableSource:
    (tmp_path / "t.csv").write_text("a,colour,b\n1,red,2\n3,blue,5\n?,red,1\n4,blue,7\n")
    return opened(str(tmp_path / "t.csv"))


@pytest.fixture
def encoder(source: TableSource) -> TableEncoder:
    torch.manual_seed(0)
    return MODALITY.encoder("mlp", source, TableOptions(hidden=8, layers=3))


def test_dicts_and_lists_and_files_give_the_same_vectors(source: TableSource, encoder: TableEncoder) -> None:
    rows = [[1, "red", 2], [3, "blue", 5.0], [None, " red ", "1"], ["4", "blue", 7]]
    dicts = [dict(zip(("b", "colour", "a"), (row[2], row[1], row[0]), strict=True)) for row in rows]
    fetched = encoder.features(encoder.prepare(source.fetch(np.arange(4))[0])).detach().numpy()
    np.testing.assert_array_equal(encoder.encode(rows), fetched)
    np.testing.assert_array_equal(encoder.encode(dicts), fetched)


def test_data_frames_and_their_rows_give_the_vectors_of_dicts(encoder: TableEncoder) -> None:
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    columns = {"label": ["x", "y"], "b": [2.0, None], "colour": ["red", None], "a": [1, 3]}
    frame = pd.DataFrame(columns, index=[7, 9])
    wanted = encoder.encode([{name: cells[i] for name, cells in columns.items()} for i in range(2)])
    np.testing.assert_array_equal(encoder.encode(frame), wanted)
    np.testing.assert_array_equal(encoder.encode(pa.table(columns)), wanted)
    np.testing.assert_array_equal(encoder.encode(frame.iloc[0]), wanted[0])


def test_one_row_gives_one_vector(encoder: TableEncoder) -> None:
    assert encoder.encode([1, "red", 2]).shape == (8,)
    assert encoder.encode({"a": 1, "colour": "red", "b": 2}).shape == (8,)


def test_arrays_of_numbers_are_rows(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.save(tmp_path / "t.npy", x)
    encoder = MODALITY.encoder("mlp", opened(str(tmp_path / "t.npy")), TableOptions(hidden=8, layers=2))
    whole = encoder.encode(x)
    assert whole.shape == (5, 8)
    np.testing.assert_array_equal(encoder.encode(x[0]), encoder.encode(x[:1])[0])
    np.testing.assert_array_equal(encoder.encode(torch.from_numpy(x)), whole)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1, "red"], r"Input 0 must be a row of 3 cells \(a, colour, b\), got shape \[2\]"),
        ({"a": 1, "b": 2}, "Input 0 has no column 'colour'"),
        (["many", "red", 2], "the cell 'many' of column 'a' is no finite number"),
        ([float("inf"), "red", 2], "the cell inf of column 'a' is no finite number"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(encoder: TableEncoder, row: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encoder.encode([row])


def test_config_survives_json(encoder: TableEncoder) -> None:
    again = MODALITY.restore(json.loads(json.dumps(encoder.config)))
    again.load_state_dict(encoder.state_dict())
    np.testing.assert_array_equal(again.encode([[1, "red", 2]]), encoder.encode([[1, "red", 2]]))


def test_weights_hold_no_rows_of_the_table(encoder: TableEncoder) -> None:
    assert set(encoder.state_dict()) == {f"network.{i}.{kind}" for i in (0, 2, 4) for kind in ("weight", "bias")}


@pytest.mark.parametrize(("samples", "hidden", "layers", "bins"), [(100, 128, 2, 4), (50_000, 256, 3, 64)])
def test_automatic_sizes_follow_the_rows(
    source: TableSource, samples: int, hidden: int, layers: int, bins: int
) -> None:
    facts = Facts(samples=samples, device="cpu", threads=1)
    options, name, choices = MODALITY.settle(TableOptions(), source, "mlp", facts)
    assert options == TableOptions(corruption=0.3, hidden=hidden, layers=layers, bins=bins)
    assert name == "mlp"
    assert {choice.name for choice in choices} == {"corruption", "hidden", "layers", "bins"}


def test_given_options_are_left_alone(source: TableSource) -> None:
    asked = TableOptions(corruption=0.3, hidden=5, layers=1, bins=0)
    assert MODALITY.settle(asked, source, "mlp", Facts(samples=4, device="cpu", threads=1)) == (asked, "mlp", [])


def test_width_is_the_width_of_the_layers(source: TableSource) -> None:
    assert MODALITY.encoder("mlp", source, TableOptions(), width=7).dim == 7


def test_an_unknown_encoder_is_named_with_a_suggestion(source: TableSource) -> None:
    with pytest.raises(UnknownName, match=r"No encoder is named 'mpl'\. Did you mean 'mlp'\?"):
        MODALITY.encoder("mpl", source, TableOptions())


def test_pretrained_weights_are_refused(source: TableSource) -> None:
    with pytest.raises(ConfigError, match="pretrained has no meaning for tables"):
        MODALITY.encoder("mlp", source, TableOptions(), pretrained="hub")


def test_a_head_learns_on_the_vectors_that_are_used(source: TableSource) -> None:
    encoder = MODALITY.encoder("wide", source, TableOptions(hidden=8, layers=2))
    rows = encoder.prepare(source.fetch(np.arange(4))[0])
    used = encoder.eval().features(rows)
    assert not torch.equal(encoder.train().features(rows), used)  # nothing is read off the row where views are compared
    Classify(encoder, ClassifyOptions(classes=2))
    torch.testing.assert_close(encoder.train().features(rows), used)
