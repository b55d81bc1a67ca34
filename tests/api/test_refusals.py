"""Mistakes are refused before any work, in plain words, and nothing is left behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nearfar as nf
from nearfar.api.run import Run
from nearfar.errors import ConfigError, RunError, UnknownName, UserError
from tests.altering import named

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


def test_a_file_as_out_is_refused_before_the_data_is_read(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(RunError, match="is a file; name a folder"):
        tiny(tmp_path / "nothing here", out=tmp_path / "out")


REFUSED: list[tuple[dict[str, Any], type[UserError], str]] = [
    ({"temprature": 0.1}, UnknownName, r"No option is named 'temprature'. Did you mean 'temperature'"),
    ({"steps": "12"}, ConfigError, "steps must be a whole number, got '12'"),
    ({"epochs": 2}, ConfigError, "--epochs and --steps contradict each other"),
    ({"method": "simcrl"}, UnknownName, "No method is named 'simcrl'. Did you mean 'simclr'"),
    ({"modality": "pictures"}, UnknownName, "No modality is named 'pictures'"),
    ({"encoder": "small_cn"}, UnknownName, "Did you mean 'small_cnn'"),
    ({"device": "gpu"}, ConfigError, "device must be auto"),
    ({"device": "cuda:99"}, ConfigError, "not on this machine"),
    ({"method": "densecl", "matryoshka": "8"}, ConfigError, "learns from maps, and matryoshka cuts vectors"),
    ({"also": "densecl", "matryoshka": "8"}, ConfigError, "learns from maps, and matryoshka cuts vectors"),
    (
        {"method": "densecl", "encoder": "torchvision:resnet18", "width": None},
        ConfigError,
        r"The method learns from feature maps.*encoder 'torchvision:resnet18' does not give; these do: small_cnn, ",
    ),
    ({"batch_size": 41}, ConfigError, "batch_size 41 is more than the 40 samples.*--batch-size 40 or less"),
    ({"gather": "ring", "method": "byol"}, ConfigError, "The method byol needs gather=all with these options"),
    ({"gather": "ring", "variant": "hard"}, ConfigError, r"needs gather=all.*for simclr \(variant=nt_xent\), "),
    ({"budget": "soon", "steps": None}, ConfigError, "budget must be a time such as"),
    ({"pretrained": "nowhere.safetensors"}, ConfigError, "neither 'hub' nor a file"),
    ({"init": "a", "pretrained": "b"}, ConfigError, "contradict each other"),
    ({"config": "nowhere.toml"}, ConfigError, "no file of settings at 'nowhere.toml'"),
    ({"config": "unknown.toml"}, UnknownName, "No option is named 'learning_rat'"),
    ({"config": "broken.toml"}, RunError, r"broken\.toml"),
]


def test_options_that_cannot_be_are_refused(
    tiny: Tiny, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("unknown.toml").write_text("[optimisation]\nlearning_rat = 3\n")
    Path("broken.toml").write_text("[optimisation\n")
    for options, kind, message in REFUSED:
        with named(options), pytest.raises(kind, match=message):
            tiny(finished[0], **options)
        assert not (tmp_path / "run").exists()


def test_a_kind_of_data_whose_encoders_have_no_maps_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["a,b", *(f"{i},{i * i}" for i in range(40))]))
    told = "The method learns from feature maps.* 'mlp' does not give; no encoder for data of the kind table does"
    for options in ({"method": "densecl"}, {"also": "densecl:0.5"}):
        with pytest.raises(ConfigError, match=told):
            nf.train(table, encoder="mlp", steps=1, out=tmp_path / "run", **options)
        assert not (tmp_path / "run").exists()


def test_data_that_cannot_be_is_refused(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for data, message in (
        (None, "There is no data to train on"),
        ("", "There is no data to train on"),
        (123, "data must be|data .* int"),
        ("no/such/folder", "no/such/folder"),
        ("digits:tset", "train"),
        (photos(count=1), "two"),
        (tmp_path / "empty", "empty"),
    ):
        with named(data), pytest.raises(UserError, match=message):
            tiny(data, batch_size=None)
        assert not (tmp_path / "run").exists()


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for use in (nf.load, nf.report, lambda run: nf.embed(run, "digits"), lambda run: nf.evaluate(run, "digits")):
        with pytest.raises(RunError, match="There is no"):
            use(tmp_path / "none")


def test_a_report_needs_a_run() -> None:
    with pytest.raises(ConfigError, match="at least one run"):
        nf.report()
