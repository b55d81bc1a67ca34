"""Files of embeddings with any damage are read or refused in plain words, and no code that they hold is run."""

import pickle
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearfar.contract import Skipped
from nearfar.data.embedding_parts import Parts, shard_path
from nearfar.data.embeddings import Embeddings
from nearfar.errors import DataError, MachineError
from tests.altering import TIMES, Bomb, altered, files_of_at_most, named, untouched


def some(count: int = 5, dim: int = 4, first: int = 0) -> Embeddings:
    vectors = np.random.default_rng(first).normal(size=(count, dim)).astype(np.float32)
    return Embeddings(vectors, [f"{first + i}.png" for i in range(count)], ["a", None, "b", "a", "é"][:count])


@pytest.mark.parametrize(("name", "file"), [("e.parquet",) * 2, ("e.npy",) * 2, ("e.npy", "e.keys.csv")])
def test_an_altered_file_is_read_or_refused(tmp_path: Path, name: str, file: str) -> None:
    some().save(tmp_path / name)
    whole = (tmp_path / file).read_bytes()
    for number in range(80 * TIMES):
        (tmp_path / file).write_bytes(altered(whole, number))
        with named(file, number), untouched(tmp_path), suppress(DataError):
            found = Embeddings.load(tmp_path / name)
            assert found.vectors.dtype == np.float32
            assert all(isinstance(key, str) for key in found.keys)


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + bytes(64)


SHAPES = ["(10**9, 3)", "(1000000000000, 512)", "(99999999999999999999, 2)", "(-1, 2)", "()", "(4", "4", "(4, 2, 2)"]


@pytest.mark.parametrize("shape", SHAPES)
def test_an_array_of_a_forged_shape_is_refused(tmp_path: Path, shape: str) -> None:
    (tmp_path / "e.npy").write_bytes(npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"))
    with pytest.raises(DataError, match=r"e\.npy|shape"):
        Embeddings.load(tmp_path / "e.npy")


@pytest.mark.parametrize("kind", ["|O", "<U4", "<M8[s]", "|V7", "<c16"])
def test_an_array_of_what_is_no_number_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "e.npy").write_bytes(npy(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': (2, 2)}}"))
    with pytest.raises(DataError, match=r"e\.npy"):
        Embeddings.load(tmp_path / "e.npy")


@pytest.mark.parametrize("name", ["e.parquet", "e.npy"])
def test_no_pickle_is_read(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "was run"
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(DataError, match="cannot be read as embeddings"):
        Embeddings.load(tmp_path / name)
    np.save(tmp_path / "o.npy", np.array([[Bomb(mark)]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as embeddings"):
        Embeddings.load(tmp_path / "o.npy")
    assert not mark.exists()


COLUMNS: list[dict[str, Any]] = [
    {"key": ["a", None], "vector": [[1.0], [2.0]]},
    {"key": ["a", "b"], "vector": [[1.0], None]},
    {"key": pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers()), "vector": [[1.0]]},
]


@pytest.mark.parametrize("columns", COLUMNS, ids=range(len(COLUMNS)))
def test_columns_that_are_no_embeddings_are_refused(tmp_path: Path, columns: dict[str, Any]) -> None:
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    with pytest.raises(DataError):
        Embeddings.load(tmp_path / "e.parquet")


def test_numbers_as_keys_and_labels_become_texts(tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": [7], "label": [3], "vector": [[1.0]]}), tmp_path / "e.parquet")
    found = Embeddings.load(tmp_path / "e.parquet")
    assert (found.keys, found.labels) == (["7"], ["3"])


def test_names_like_those_of_shards_are_no_shards(tmp_path: Path) -> None:
    for name in ("e-abc-of-def.parquet", "e-1-of-2.parquet", "e-00000-of-.parquet"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match="There is no file of embeddings"):
        Embeddings.load(tmp_path / "e.parquet")


def test_a_shard_of_a_billion_names_the_first_that_are_missing(tmp_path: Path) -> None:
    some().save(tmp_path / "e-00000-of-999999999.parquet")
    with pytest.raises(
        DataError, match=r"in 999999999 shards, and these are missing: e-00001-of-\S+, \S+, \S+, \S+, \S+\.$"
    ):
        Embeddings.load(tmp_path / "e.parquet")


def test_shards_of_two_encoders_are_refused(tmp_path: Path) -> None:
    for rank, dim in enumerate((3, 4)):
        some(dim=dim).save(shard_path(tmp_path / "e.parquet", rank, 2))
    with pytest.raises(DataError, match="3 and 4 dimensions"):
        Embeddings.load(tmp_path / "e.parquet")


@pytest.mark.parametrize("name", ["e.parquet", "e.npy"])
def test_a_damaged_part_is_made_again(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts(tmp_path / name, {"weights": "a"})
    with parts.opened():
        for number in range(2):
            parts.put(number, some(first=5 * number), [Skipped("x.png", "empty file")])
    damaged = sorted(parts.folder.glob("*.parquet"))[1]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with parts.opened():
        assert [parts.has(number) for number in range(2)] == [True, False]
        assert "00000001.parquet is damaged" in caplog.text
        parts.put(1, some(first=5), [])
        assert parts.skipped() == [Skipped("x.png", "empty file")]
        assert parts.join() == (10, 4)
    assert Embeddings.load(tmp_path / name).keys == [f"{i}.png" for i in range(10)]


def test_a_plan_that_is_none_starts_anew(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "e.parquet", {"weights": "a"})
    with parts.opened():
        parts.put(0, some(), [])
    for content in ("[" * 100_000, "", "\0", "[]"):
        (parts.folder / "plan.json").write_text(content)
        with parts.opened():
            assert not parts.has(0)
            parts.put(0, some(), [])


@pytest.mark.parametrize("name", ["e.parquet", "e.npy"])
def test_a_disk_that_fills_up_keeps_the_old_file_and_the_parts(tmp_path: Path, name: str) -> None:
    many = Embeddings(
        np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32), [str(i) for i in range(2000)]
    )
    some().save(tmp_path / name)
    parts = Parts(tmp_path / name, {"weights": "a"})
    with parts.opened():
        parts.put(0, many, [])
        for write in (lambda: many.save(tmp_path / name), lambda: parts.put(1, many, []), parts.join):
            with files_of_at_most(20_000), pytest.raises(MachineError, match="cannot be written: "):
                write()
        assert Embeddings.load(tmp_path / name).keys == some().keys
        assert not [path for path in tmp_path.rglob(".*") if path.is_file() and path.name != ".lock"]
        assert parts.join() == (2000, 16)
    assert np.array_equal(Embeddings.load(tmp_path / name).vectors, many.vectors)
