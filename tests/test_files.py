"""Atomic writes, strict JSON, one writing process at a time, and a full disk told from a mistake."""

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nearfar import files
from nearfar.errors import MachineError, NearfarError, OutputError, RunError
from tests.altering import files_of_at_most


def test_a_file_is_replaced_and_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    files.write(path, "né\udcff")
    files.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["file"]
    files.write(path, "né\udcff")
    assert path.read_text(encoding="utf-8") == "né\\udcff"


@pytest.mark.parametrize("point", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.write_bytes"])
@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, MachineError), (errno.EDQUOT, MachineError), (errno.EACCES, OutputError)]
)
def test_a_write_that_fails_leaves_the_old_content_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, number: int, error: type[NearfarError]
) -> None:
    files.write(tmp_path / "file", b"old")

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(point, fail)
        with pytest.raises(error, match=rf"file' cannot be written: {os.strerror(number)}\. Kept\.$") as raised:
            files.write(tmp_path / "file", b"new", kept="Kept.")
    assert raised.value.exit_code == (1 if error is MachineError else 2)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_file_cut_short_by_the_system_is_not_taken(tmp_path: Path) -> None:
    with (
        files_of_at_most(10),
        pytest.raises(MachineError, match=r"File too large\. What was there before is"),
    ):
        files.write(tmp_path / "file", b"x" * 20)
    assert not os.listdir(tmp_path)


def test_a_process_that_ends_before_the_rename_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(tmp_path / "file", b"old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        files.write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_drafts_of_killed_processes_are_removed_and_nothing_else(tmp_path: Path) -> None:
    left, kept = [".metrics.jsonl.123", ".report.html.x9.part"], [".gitignore", "metrics.jsonl"]
    for name in left + kept:
        (tmp_path / name).touch()
    files.remove_drafts(tmp_path)
    assert sorted(os.listdir(tmp_path)) == kept


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    content = {"a": [0.1 + 0.2, 2**70, True, None], "né\udcff": {"b": ""}}
    files.write_json(tmp_path / "x.json", content)
    assert files.read_json(tmp_path / "x.json") == content
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "x.json", float("nan"))
    assert files.read_json(tmp_path / "x.json") == content


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", "[-Infinity]", "1e999", '{"a": 1, "a": 2}', "[" * 100_000, b"\xff", "1" * 5000]
)
def test_json_that_is_not_strict_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        files.from_json(text)


def test_two_processes_cannot_hold_one_lock(tmp_path: Path) -> None:
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    lock = tmp_path / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(RunError, match=r"Another process is writing into 'x'"), files.locked(lock, what="'x'"):
            pass
        other.communicate()
    for _ in range(2):
        with files.locked(lock, what="'x'"), pytest.raises(RunError), files.locked(lock, what="'x'"):
            pass


def test_a_file_system_without_locks_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", none)
    with caplog.at_level(logging.WARNING, logger="nearfar"), files.locked(tmp_path / ".lock", what="'x'"):
        pass
    assert "'x' cannot be locked (" in caplog.text


def test_a_lock_that_cannot_be_made_is_a_mistake(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match="'x' cannot be written to: No such file"),
        files.locked(tmp_path / "none" / ".lock", what="'x'"),
    ):
        pass
