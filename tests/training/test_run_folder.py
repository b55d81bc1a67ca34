"""The run folder: taken or free, held by one process, its files whole and strict."""

import json
from pathlib import Path

import pytest

from nearfar.errors import OutputError, RunError
from nearfar.training.run_folder import RunFolder, read_config


@pytest.mark.parametrize("there", ["", ".lock"])  # the lock of a process that was killed before it wrote anything
def test_a_new_or_empty_folder_is_free(tmp_path: Path, there: str) -> None:
    if there:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / there).touch()
    RunFolder(tmp_path / "a" / "b").claim()
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("my run", r"already holds a run.*--resume --out '.*my run'; .*new folder with --out"),
        ("other", "not empty and holds no run"),
        ("file", "is a file; name a folder"),
        ("file/run", "cannot be"),
        ("a\0b", "cannot be made: embedded null byte"),
    ],
)
def test_a_place_that_is_taken_or_cannot_be_is_refused(tmp_path: Path, out: str, message: str) -> None:
    (tmp_path / "my run" / "checkpoint").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=message):
        RunFolder(tmp_path / out).claim()


def test_a_folder_is_held_by_one_and_swept_of_drafts(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    left = [tmp_path / ".metrics.jsonl.123", tmp_path / "encoder" / ".config.json.4"]
    for path in left:
        path.touch()
    with RunFolder(tmp_path).locked():
        assert not any(path.exists() for path in left)
        with pytest.raises(RunError, match="Another process is writing into"), RunFolder(tmp_path).locked():
            pass


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
    assert folder.metrics() == []
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


def test_metrics_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"metrics.jsonl' cannot be written: .*--resume"):
        RunFolder(tmp_path).append_metrics({"step": 1})


def test_the_environment_says_what_the_run_depends_on(tmp_path: Path) -> None:
    import torch

    RunFolder(tmp_path).write_environment({"threads": 1})
    found = json.loads((tmp_path / "environment.json").read_text())
    assert found["torch"] == torch.__version__
    assert {"nearfar", "python", "numpy", "system", "processor", "cores", "threads"} <= found.keys()


def test_an_edited_setting_is_named_and_lengths_and_places_may_change(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.settings() == {}
    settings = {"data": {"data": "a"}, "length": {"steps": 3}, "optimisation": {"lr": 0.1, "clip": None}}
    folder.write_config(settings, {"lr": "because"})
    before = folder.settings()
    assert before.keys() == {"lr"}
    folder.check_settings(None)  # of an earlier version
    folder.write_config(settings | {"data": {"data": "b"}, "length": {"budget": "1h"}}, {"lr": "said otherwise"})
    folder.check_settings(before)
    folder.write_config(settings | {"optimisation": {"lr": 0.2, "clip": 1.0}}, {})
    with pytest.raises(RunError, match=r"config.toml' was changed since the last checkpoint: clip, lr\. .*--init"):
        folder.check_settings(before)
