import csv
import os

import pytest

from nearfar.contract import Skipped
from nearfar.data.skipped import write_skipped


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_keys_and_reasons_are_written_under_a_header(tmp_path):
    write_skipped(tmp_path / "s.csv", [Skipped("a,b.jpg", 'not an "image"')])
    assert rows(tmp_path / "s.csv") == [["key", "reason"], ["a,b.jpg", 'not an "image"']]


def test_a_formula_becomes_text(tmp_path):
    write_skipped(tmp_path / "s.csv", [Skipped("=1+1", "-x")])
    assert rows(tmp_path / "s.csv")[1] == ["'=1+1", "'-x"]


def test_undecodable_and_control_characters_are_escaped(tmp_path):
    write_skipped(tmp_path / "s.csv", [Skipped("a\udce9\n=b", "x")])
    assert rows(tmp_path / "s.csv")[1][0] == r"a\xe9\n=b"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    write_skipped(tmp_path / "s.csv", [Skipped("old", "x")])

    def broken():
        yield Skipped("new", "x")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_skipped(tmp_path / "s.csv", broken())
    assert rows(tmp_path / "s.csv")[1] == ["old", "x"]
    assert os.listdir(tmp_path) == ["s.csv"]
