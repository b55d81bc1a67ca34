"""Records in files of three kinds."""

import json
from pathlib import Path

import pytest

from nearfar.data.record_writer import check_ending, writing
from nearfar.errors import ConfigError

KINDS = {"key": str, "share": float}
RECORDS = [{"key": "a,b", "share": 0.25}, {"key": "=1+1", "share": None}]


def written(path: Path) -> Path:
    with writing(path, KINDS) as write:
        write(RECORDS[:1])
        write(RECORDS[1:])
    return path


def test_csv_guards_what_a_spreadsheet_would_run(tmp_path):
    assert written(tmp_path / "a.csv").read_text().splitlines() == ["key,share", '"a,b",0.25', "'=1+1,"]


def test_jsonl_holds_the_records(tmp_path):
    lines = written(tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == RECORDS


def test_parquet_holds_the_records(tmp_path):
    import pyarrow.parquet as pq

    assert pq.read_table(written(tmp_path / "a.parquet")).to_pylist() == RECORDS


def test_what_fails_half_way_leaves_no_file(tmp_path):
    def fail() -> None:
        with writing(tmp_path / "a.csv", KINDS) as write:
            write(RECORDS)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_other_endings_are_refused():
    with pytest.raises(ConfigError, match=r"must end in \.csv, \.jsonl or \.parquet"):
        check_ending(Path("a.txt"))
