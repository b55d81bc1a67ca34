"""The run folder: taken or free, held by one process, its files whole and strict."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nearfar.errors import RunError
from nearfar.training import run_folder
from nearfar.training.run_folder import RunFolder, read_config, write_atomically


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    RunFolder(tmp_path / "a" / "b").claim()
    assert (tmp_path / "a" / "b").is_dir()


def test_an_empty_folder_is_free(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()  # left by a process that was killed before it wrote anything
    RunFolder(tmp_path).claim()


@pytest.mark.parametrize("name", ["config.toml", "metrics.jsonl", "checkpoint", "encoder"])
def test_a_used_folder_is_refused_with_the_two_ways_out(tmp_path: Path, name: str) -> None:
    place = tmp_path / "my run"
    (place / name).mkdir(parents=True)
    with pytest.raises(RunError, match=r"already holds a run.*--resume --out '.*my run'; .*new folder with --out"):
        RunFolder(place).claim()


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match="not empty and holds no run"):
        RunFolder(tmp_path).claim()


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(RunError, match="is a file; name a folder"):
        RunFolder(tmp_path / "out").claim()


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be"):
        RunFolder(tmp_path / "file" / "run").claim()


def test_a_name_that_no_folder_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be made: embedded null byte"):
        RunFolder(tmp_path / "a\0b").claim()


def test_looking_makes_nothing(tmp_path: Path) -> None:
    RunFolder(tmp_path / "new").check_free()
    assert not (tmp_path / "new").exists()


def test_two_processes_cannot_hold_one_folder(tmp_path: Path) -> None:
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(RunError, match="Another process is writing into"), RunFolder(tmp_path).locked():
            pass
        other.communicate()
    with RunFolder(tmp_path).locked():
        pass


def test_a_file_system_without_locks_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import fcntl

    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with RunFolder(tmp_path).locked():
        pass
    assert "cannot be locked" in caplog.text


def test_drafts_of_a_killed_process_are_swept_away(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    left = [tmp_path / ".metrics.jsonl.123", tmp_path / ".report.html.x9.part", tmp_path / "encoder/.config.json.4"]
    kept = [tmp_path / ".gitignore", tmp_path / "metrics.jsonl", tmp_path / "encoder" / "config.json"]
    for path in left + kept:
        path.touch()
    with RunFolder(tmp_path).locked():
        assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)


def test_settings_come_back_as_they_were_written(tmp_path: Path) -> None:
    sections = {
        "data": {"data": 'it\'s "odd"\n<b> ä 日本', "modality": None},
        "optimisation": {"lr": 0.1 + 0.2, "batch_size": 16},
    }
    folder = RunFolder(tmp_path)
    folder.write_config(sections, {"lr": "because"})
    assert folder.read_config() == {
        "data": {"data": sections["data"]["data"]},
        "optimisation": sections["optimisation"],
        "chosen": {"lr": "because"},
    }


def test_settings_that_are_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="UTF-8"):
        RunFolder(tmp_path).write_config({"data": {"data": "a\udcff"}}, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no config.toml"),
        ("a = ", "cannot be read"),
        ("format = 99", "written by a later nearfar"),
        ("format = 'x'", "written by a later nearfar"),
    ],
)
def test_settings_that_cannot_be_read_are_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.toml").write_text(content)
    with pytest.raises(RunError, match=message):
        read_config(tmp_path / "config.toml")


def test_metrics_are_lines_of_strict_json(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in range(3):
        folder.append_metrics({"step": step, "loss": 0.5})
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [0, 1, 2]
    with pytest.raises(ValueError, match="JSON"):
        folder.append_metrics({"step": 3, "loss": float("nan")})
    assert len(folder.metrics()) == 3


def test_a_line_cut_short_is_left_out_and_rewound(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in range(1, 6):
        folder.append_metrics({"step": step})
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 6, "na\xff')
    assert [record["step"] for record in folder.metrics()] == [1, 2, 3, 4, 5]
    folder.rewind_metrics(3)
    folder.append_metrics({"step": 4})
    assert [record["step"] for record in folder.metrics()] == [1, 2, 3, 4]


def test_no_metrics_are_an_empty_list(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).metrics() == []


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(RunError, match=r"metrics.jsonl' cannot be written: .*--resume"):
        RunFolder(tmp_path).append_metrics({"step": 1})


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "file", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        write_atomically(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_crash_before_the_rename_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "file", b"old")
    monkeypatch.setattr(run_folder.Path, "replace", lambda *_: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_the_environment_says_what_the_run_depends_on(tmp_path: Path) -> None:
    import torch

    RunFolder(tmp_path).write_environment({"threads": 1})
    found = json.loads((tmp_path / "environment.json").read_text())
    assert found["torch"] == torch.__version__
    assert {"nearfar", "python", "numpy", "system", "processor", "cores", "threads"} <= found.keys()
