"""Records are whole or not there, whoever writes and whenever it ends."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from nearfar.data import record_file as module
from nearfar.data.record_file import INDEX, RECORDS, InUse, Records, digest, remove

SIZE = 50


def content(name):
    return np.random.default_rng(abs(name)).integers(0, 256, SIZE, dtype=np.uint8)


def add(records, names):
    contents = [content(name) for name in names]
    notes = [(digest(one, name / 2), name / 2) for one, name in zip(contents, names, strict=True)]
    return records.append(names, contents, notes)


def found(records, name):
    """A record's bytes and number, None where it is not there or not whole."""
    slot = records.slot(name)
    out = np.empty(SIZE, np.uint8)
    entry = None if slot is None else records.checked(slot, out)
    return None if entry is None else (out.tolist(), entry[1])


def has(records, names):
    return all(found(records, name) == (content(name).tolist(), name / 2) for name in names)


@pytest.fixture
def made(tmp_path):
    """Opens the records of one folder, as often as asked."""
    return lambda limit=1000: Records(tmp_path / "set", SIZE, limit=limit)


def test_what_was_appended_is_found_again(made):
    records = made()
    assert add(records, [7, -3, 2**62]) == [0, 1, 2]
    for one in (records, made()):
        assert len(one) == 3
        assert has(one, [7, -3, 2**62])
        assert one.slot(8) is None


def test_others_see_what_was_appended_once_they_append(made):
    one, other = made(), made()
    add(one, [1, 2])
    assert other.slot(1) is None
    assert add(other, [2, 3]) == [1, 2]
    assert len(other) == 3
    assert has(other, [1, 2, 3])


def test_the_same_name_twice_is_one_record(made):
    records = made()
    assert add(records, [4, 4]) == [0, 0]
    assert add(records, [4]) == [0]
    assert len(records) == 1


def test_no_more_than_the_limit_is_kept(made):
    records = made(limit=3)
    assert add(records, [1, 2]) == [0, 1]
    assert add(records, [3, 4, 1]) == [2, None, 0]
    assert len(made()) == 3


def test_many_names_are_sorted_in(made, monkeypatch):
    monkeypatch.setattr(module, "_FOLD", 4)
    records, names = made(), [int(name) for name in np.random.default_rng(0).permutation(200)]
    for start in range(0, 200, 5):
        add(records, names[start : start + 5])
    assert len(records._later) < 40
    assert has(records, names)
    assert records.slot(200) is None


def test_a_damaged_record_is_not_believed_and_can_be_added_anew(made, tmp_path):
    add(made(), [1, 2])
    with (tmp_path / "set" / RECORDS).open("r+b") as file:
        file.write(b"\0" * 10)
    records = made()
    assert found(records, 1) is None
    assert records.slot(1) is None
    assert has(records, [2])
    assert add(records, [1, 2]) == [2, 1]
    assert has(records, [1, 2])
    assert has(made(), [1, 2])


@pytest.mark.parametrize("file", [RECORDS, INDEX])
def test_a_file_cut_short_costs_only_what_was_cut(made, tmp_path, file):
    add(made(), [1, 2, 3])
    path = tmp_path / "set" / file
    os.truncate(path, path.stat().st_size - 5)
    records = made()
    assert found(records, 3) is None
    assert has(records, [1, 2])
    add(records, [3, 4])
    assert has(records, [1, 2, 3, 4])
    assert has(made(), [1, 2, 3, 4])


def test_bytes_without_an_entry_are_written_over(made, tmp_path):
    add(made(), [1])
    with (tmp_path / "set" / RECORDS).open("ab") as file:
        file.write(b"left by a process that was killed")
    records = made()
    add(records, [2])
    assert has(records, [1, 2])
    assert (tmp_path / "set" / RECORDS).stat().st_size == 2 * SIZE


def test_an_entry_before_its_bytes_is_not_believed(made, tmp_path):
    """As after a loss of power: the disk keeps no order."""
    add(made(), [1, 2])
    with (tmp_path / "set" / RECORDS).open("r+b") as file:
        file.seek(SIZE)
        file.write(b"\0" * SIZE)
    records = made()
    assert has(records, [1])
    assert found(records, 2) is None


def test_a_full_disk_leaves_what_was_there(made, monkeypatch):
    records = made()
    add(records, [1, 2])

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space left"):
            add(records, [3])
    assert has(records, [1, 2])
    assert add(records, [3]) == [2]


def test_a_read_of_a_record_that_is_gone_is_no_error(made, tmp_path):
    records = made()
    add(records, [1])
    os.truncate(tmp_path / "set" / RECORDS, 0)
    assert not records.read(0, np.empty(SIZE, np.uint8))


def test_a_folder_in_use_is_not_removed_and_not_cleared(made, tmp_path):
    one, other = made(), made()
    add(one, [1])
    for refused in (other.clear, lambda: remove(tmp_path / "set")):
        with pytest.raises(InUse):
            refused()
    one.close()
    assert (tmp_path / "set").is_dir()
    other.close()
    remove(tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_cleared_records_start_anew(made):
    records = made()
    add(records, [1, 2])
    records.clear()
    assert len(records) == len(made()) == 0
    assert records.slot(1) is None
    assert add(records, [2]) == [0]


def test_records_that_nobody_holds_any_more_are_let_go(made, tmp_path):
    add(made(), [1])
    remove(tmp_path / "set")
    assert not (tmp_path / "set").exists()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from nearfar.data.record_file import Records, digest
records = Records(Path(sys.argv[1]), 50, limit=10_000)
for start in range(0, 2000, 8):
    names = [int(name) for name in np.random.default_rng(start).integers(0, 600, 8)]
    contents = [np.random.default_rng(name).integers(0, 256, 50, dtype=np.uint8) for name in names]
    records.append(names, contents, [(digest(c, n / 2), n / 2) for c, n in zip(contents, names)])
    print(start, flush=True)
"""


def test_two_writers_and_one_killed_leave_whole_records(made, tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "set")]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as one,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other,
    ):
        assert other.stdout is not None
        while other.stdout.readline().strip() != "400":
            pass
        other.kill()
        one.communicate()
    assert one.returncode == 0
    records = made()
    names = {int(name) for start in range(0, 2000, 8) for name in np.random.default_rng(start).integers(0, 600, 8)}
    assert has(records, names)
    assert len(records) == len(names)
