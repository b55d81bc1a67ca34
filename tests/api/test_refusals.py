"""Mistakes are refused before any work, in plain words, and nothing is left behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nearfar as nf
from nearfar.api.run import Run
from nearfar.errors import ConfigError, DataError, RunError, UnknownName, UserError

Tiny = Callable[..., Run]
Photos = Callable[..., Path]
Finished = tuple[Path, Run]


def test_a_used_folder_is_refused_with_the_two_ways_out(finished: Finished, tiny: Tiny) -> None:
    data, run = finished
    with pytest.raises(RunError, match=r"already holds a run.*--resume --out .*new folder with --out"):
        tiny(data, out=run.path)


def test_a_folder_with_other_files_is_refused(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    data = photos()
    with pytest.raises(RunError, match="not empty and holds no run"):
        tiny(data, out=data)
    assert sorted(path.name for path in data.iterdir()) == [f"class {i}" for i in range(4)]


def test_a_file_as_out_is_refused(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(RunError, match="is a file; name a folder"):
        tiny(photos(), out=tmp_path / "out")


def test_a_taken_folder_is_refused_before_the_data_is_read(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(RunError, match="is a file"):
        tiny(tmp_path / "nothing here", out=tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"temprature": 0.1}, UnknownName, r"No option is named 'temprature'. Did you mean 'temperature'"),
        ({"steps": "12"}, ConfigError, "steps must be a whole number, got '12'"),
        ({"epochs": 2}, ConfigError, "--epochs and --steps contradict each other"),
        ({"method": "simcrl"}, UnknownName, "No method is named 'simcrl'. Did you mean 'simclr'"),
        ({"modality": "pictures"}, UnknownName, "No modality is named 'pictures'"),
        ({"encoder": "small_cn"}, UnknownName, "Did you mean 'small_cnn'"),
        ({"optimizer": "adam"}, UnknownName, "Did you mean 'adamw'"),
        ({"device": "gpu"}, ConfigError, "device must be auto"),
        ({"device": "cuda:99"}, ConfigError, "not on this machine"),
        ({"batch_size": 41}, ConfigError, "batch_size 41 is more than the 40 samples.*--batch-size 40 or less"),
        ({"batch_size": 1}, ConfigError, "batch_size must be at least 2"),
        ({"gather": "tree"}, UnknownName, "No gather is named 'tree'"),
        ({"gather": "ring", "method": "byol"}, ConfigError, "The method byol needs gather=all with these options"),
        ({"gather": "ring", "variant": "hard"}, ConfigError, r"needs gather=all.*for simclr \(variant=nt_xent\), "),
        ({"budget": "soon", "steps": None}, ConfigError, "budget must be a time such as"),
        ({"pretrained": "nowhere.safetensors"}, ConfigError, "neither 'hub' nor a file"),
        ({"init": "a", "pretrained": "b"}, ConfigError, "contradict each other"),
        ({"config": "nowhere.toml"}, ConfigError, "no file of settings at 'nowhere.toml'"),
    ],
)
def test_options_that_cannot_be_are_refused(
    tiny: Tiny, finished: Finished, tmp_path: Path, options: dict[str, Any], kind: type[UserError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        tiny(finished[0], **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "There is no data to train on"),
        ("", "There is no data to train on"),
        (123, "data must be a path or a name, got 123"),
        ("no/such/folder", "no/such/folder"),
        ("digits:tset", "train"),
    ],
)
def test_data_that_cannot_be_is_refused(tiny: Tiny, tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny(data)
    assert not (tmp_path / "run").exists()


def test_one_image_is_too_few(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two"):
        tiny(photos(count=1), batch_size=None)
    assert not (tmp_path / "run").exists()


def test_an_empty_folder_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        tiny(tmp_path / "empty")


def test_a_config_with_an_unknown_setting_is_refused(tiny: Tiny, finished: Finished, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[optimisation]\nlearning_rat = 3\n")
    with pytest.raises(UnknownName, match="No option is named 'learning_rat'"):
        tiny(finished[0], config=tmp_path / "c.toml")


@pytest.mark.parametrize("content", ["[optimisation\n", "[optimisation]\nlr = 'high'\n"])
def test_a_broken_config_is_refused(tiny: Tiny, finished: Finished, tmp_path: Path, content: str) -> None:
    (tmp_path / "c.toml").write_text(content)
    with pytest.raises(UserError, match=r"c\.toml|lr must be a number"):
        tiny(finished[0], config=tmp_path / "c.toml")


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for use in (nf.load, nf.report, lambda run: nf.embed(run, "digits"), lambda run: nf.evaluate(run, "digits")):
        with pytest.raises(RunError, match="There is no"):
            use(tmp_path / "none")


def test_a_report_needs_a_run() -> None:
    with pytest.raises(ConfigError, match="at least one run"):
        nf.report()
