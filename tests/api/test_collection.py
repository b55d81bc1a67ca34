"""Adding to a file of embeddings and deleting from it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import nearfar as nf
from nearfar.api import collection
from nearfar.data.embeddings import Embeddings
from nearfar.errors import ConfigError, DataError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    about = pa.table({"split": ["train", "test", "test"]})
    return Embeddings(np.eye(3, dtype=np.float32), ["a", "b", "c"], ["x", None, "y"], None, about).save(
        tmp_path / "e.parquet"
    )


def test_samples_are_deleted_by_key(file: Path) -> None:
    made = nf.delete(file, keys=["b"])
    assert (made.deleted, made.samples) == (1, 2)
    left = Embeddings.load(file)
    assert left.keys == ["a", "c"]
    assert left.labels == ["x", "y"]
    assert left.about is not None
    assert left.about["split"].to_pylist() == ["train", "test"]


def test_samples_are_deleted_by_a_condition(file: Path) -> None:
    assert nf.delete(file, where='split == "test" and label is None').deleted == 1
    assert Embeddings.load(file).keys == ["a", "c"]


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ({"keys": ["b", "d"]}, DataError, "no sample 'd': nothing was deleted"),
        ({"where": "label == 3"}, ConfigError, "in quotes"),
        ({"where": "key is not None"}, ConfigError, "would delete all 3 samples"),
        ({}, ConfigError, "Say what to delete"),
    ],
)
def test_a_mistake_deletes_nothing(file: Path, what: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        nf.delete(file, **what)
    assert len(Embeddings.load(file)) == 3


def test_added_samples_come_behind_and_equal_keys_are_replaced(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = Embeddings(np.full((2, 3), 2, dtype=np.float32), ["b", "d"], ["z", "z"], None, pa.table({"n": [1, 2]}))
    monkeypatch.setattr("nearfar.api.embed.embed", lambda *_, **__: new)
    made = nf.add("run", file, "data")
    assert (made.added, made.replaced, made.samples) == (1, 1, 4)
    found = Embeddings.load(file)
    assert found.keys == ["a", "c", "b", "d"]
    assert found.labels == ["x", "y", "z", "z"]
    assert found.about is not None
    assert found.about.to_pydict() == {"split": ["train", "test", None, None], "n": [None, None, 1, 2]}


def test_what_another_encoder_made_is_not_mixed_in(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = Embeddings(np.ones((1, 5), dtype=np.float32), ["n"])
    monkeypatch.setattr("nearfar.api.embed.embed", lambda *_, **__: new)
    with pytest.raises(DataError, match="3 dimensions, this encoder makes 5"):
        nf.add("run", file, "data")


def test_columns_of_one_name_that_hold_different_things_are_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = Embeddings(np.ones((1, 3), dtype=np.float32), ["n"], None, None, pa.table({"split": [3]}))
    monkeypatch.setattr("nearfar.api.embed.embed", lambda *_, **__: new)
    with pytest.raises(DataError, match="hold different things"):
        nf.add("run", file, "data")


def test_keys_of_added_files_lead_to_them_from_the_first_folder(tmp_path: Path) -> None:
    for name in ("first/a.png", "first/more/b.png", "other/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    first = str(tmp_path / "first")
    inner = Embeddings(np.ones((1, 2), dtype=np.float32), ["b.png"], None, str(tmp_path / "first" / "more"))
    outer = Embeddings(np.ones((1, 2), dtype=np.float32), ["c.png"], None, str(tmp_path / "other"))
    assert collection._under(inner, first).keys == ["more/b.png"]
    assert collection._under(outer, first).keys == [str(tmp_path / "other" / "c.png")]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file of embeddings"):
        nf.delete(tmp_path / "none.parquet", keys=["a"])


def test_what_another_encoder_of_the_same_width_made_is_not_mixed_in(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(Embeddings.load(file), maker="one").save(file)
    new = Embeddings(np.ones((1, 3), dtype=np.float32), ["n"], maker="other")
    monkeypatch.setattr("nearfar.api.embed.embed", lambda *_, **__: new)
    with pytest.raises(DataError, match="made by another encoder"):
        nf.add("run", file, "data")
    assert len(Embeddings.load(file)) == 3
