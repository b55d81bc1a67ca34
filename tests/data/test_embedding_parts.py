"""Files of embeddings written in parts: what is done stays done, and what does not fit is thrown away."""

from pathlib import Path

import numpy as np
import pytest

from nearfar.contract import Skipped
from nearfar.data.embedding_parts import Parts, shard_path
from nearfar.data.embeddings import Embeddings
from nearfar.errors import DataError, OutputError, RunError

PLAN = {"weights": "w", "data": "d"}


def part(first: int, count: int = 3) -> Embeddings:
    vectors = np.arange(first, first + count, dtype=np.float32)[:, None].repeat(2, 1)
    return Embeddings(vectors, [f"{i}.png" for i in range(first, first + count)], ["a", None, "b"][:count])


def put(parts: Parts, *numbers: int) -> None:
    for number in numbers:
        parts.put(number, part(3 * number), [Skipped("broken.png", "empty"), Skipped(f"{number}.txt", "no image")])


@pytest.mark.parametrize("name", ["e.parquet", "e.npy"])
def test_parts_put_in_any_order_become_one_file(tmp_path: Path, name: str) -> None:
    parts = Parts(tmp_path / name, PLAN)
    with parts.opened():
        put(parts, 2, 0, 1)
        assert parts.join() == (9, 2)
    found = Embeddings.load(tmp_path / name)
    assert found.vectors[:, 1].tolist() == list(range(9))
    assert found.keys == [f"{i}.png" for i in range(9)]
    assert found.labels == ["a", None, "b"] * 3
    left = {path.name for path in tmp_path.iterdir()}
    assert left == ({name} if name == "e.parquet" else {name, "e.keys.csv"})


def test_what_is_done_stays_done(tmp_path: Path) -> None:
    with Parts(tmp_path / "e.parquet", PLAN).opened():
        put(Parts(tmp_path / "e.parquet", PLAN), 0, 1)
    again = Parts(tmp_path / "e.parquet", PLAN)
    with again.opened():
        assert [again.has(number) for number in range(3)] == [True, True, False]
        assert {one.key for one in again.skipped()} == {"broken.png", "0.txt", "1.txt"}


def test_parts_of_another_plan_are_thrown_away(tmp_path: Path) -> None:
    before = Parts(tmp_path / "e.parquet", PLAN)
    with before.opened():
        put(before, 0)
    other = Parts(tmp_path / "e.parquet", PLAN | {"weights": "others"})
    with other.opened():
        assert not other.has(0)


def test_a_draft_of_a_killed_process_is_no_part(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "e.parquet", PLAN)
    with parts.opened():
        put(parts, 0)
        (parts.folder / ".00000001.parquet.4711").write_bytes(b"half")
        assert parts.join() == (3, 2)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first, second = Parts(tmp_path / "e.parquet", PLAN), Parts(tmp_path / "e.parquet", PLAN)
    with first.opened(), pytest.raises(RunError, match="Another process is writing into"), second.opened():
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match=r"e\.parquet' cannot be written"),
        Parts(tmp_path / "file" / "e.parquet", PLAN).opened(),
    ):
        pass


def test_shards_are_read_as_one_file(tmp_path: Path) -> None:
    for rank in range(3):
        part(3 * rank).save(shard_path(tmp_path / "e.parquet", rank, 3))
    found = Embeddings.load(tmp_path / "e.parquet")
    assert found.keys == [f"{i}.png" for i in range(9)]
    assert found.vectors[:, 0].tolist() == list(range(9))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    for rank in (0, 2):
        part(3 * rank).save(shard_path(tmp_path / "e.parquet", rank, 3))
    with pytest.raises(DataError, match=r"3 shards, and these are missing: e-00001-of-00003\.parquet"):
        Embeddings.load(tmp_path / "e.parquet")


def test_one_process_writes_no_shard() -> None:
    assert shard_path(Path("e.parquet"), 0, 1) == Path("e.parquet")
