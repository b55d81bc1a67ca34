import os

import numpy as np
import pytest

from nearfar.data.identity import Identity
from nearfar.data.reader import open_samples

HOW = {"extensions": frozenset({".png"}), "columns": ("path", "image")}


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_bytes(name.encode())
    return tmp_path / "data"


def names(data):
    listing = open_samples(str(data), **HOW)
    identity = Identity(listing, str(data))
    return [identity.of(row) for row in range(len(listing))]


def test_files_keep_their_names_and_differ(folder):
    assert names(folder) == names(folder)
    assert len(set(names(folder))) == 2


def test_a_file_has_one_name_however_it_is_reached(folder, monkeypatch):
    (folder / "list.csv").write_text("path\nb.png\na.png\n")
    there = names(folder)
    assert names(folder / "list.csv") == there[::-1]
    monkeypatch.chdir(folder.parent)
    assert names("data") == there


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_changed_file_has_another_name(folder, change):
    before = names(folder)
    if change == "size":
        status = (folder / "a.png").stat()
        (folder / "a.png").write_bytes(b"longer than before")
        os.utime(folder / "a.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        os.utime(folder / "a.png", ns=(0, 0))
    after = names(folder)
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_file_that_is_gone_has_no_name(folder):
    identity = Identity(open_samples(str(folder), **HOW), str(folder))
    (folder / "a.png").unlink()
    assert identity.of(0) is None
    assert identity.known


@pytest.fixture
def table(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"image": pa.array([b"x", b"y", b"x"])}), path)
    return path


def test_rows_of_a_container_are_named_by_their_number(table):
    found = names(table)
    assert found == names(table)
    assert len(set(found)) == 3
    listing = open_samples(str(table), **HOW)
    assert Identity(listing.take(np.array([2])), str(table)).of(0) == found[2]


def test_rows_of_a_changed_container_have_other_names(table):
    before = names(table)
    os.utime(table, ns=(0, 0))
    assert not set(before) & set(names(table))


def test_samples_of_no_file_have_no_names(table):
    identity = Identity(open_samples(str(table), **HOW), "digits")
    assert not identity.known
    assert identity.of(0) is None
