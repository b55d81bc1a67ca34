"""A teacher: what it makes of the samples is computed once, kept, and learnt from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import nearfar as nf
from nearfar.api import teacher
from nearfar.api.prepare import assemble, prepare
from nearfar.api.run import Run
from nearfar.errors import ConfigError, UnknownName

Tiny = Callable[..., Run]


@pytest.fixture
def taught(tiny: Tiny, tmp_path: Path) -> tuple[Run, dict[str, Any]]:
    """A run that learnt from another, and its options."""
    wise = tiny("digits:test", out=tmp_path / "wise", image_size=8, evaluate=False)
    options = {"teacher": str(wise.path), "image_size": 8}
    return tiny("digits:test", out=tmp_path / "taught", evaluate=False, **options), options


def test_an_encoder_learns_from_what_a_run_makes_of_each_sample(taught: tuple[Run, Any], tmp_path: Path) -> None:
    run, options = taught
    kept = load_file(run.path / "teacher.safetensors")["vectors"]
    vectors = torch.from_numpy(nf.embed(options["teacher"], "digits:test").vectors)
    vectors = vectors - vectors.mean(0)
    torch.testing.assert_close(kept, vectors / vectors.square().mean().sqrt(), rtol=1e-4, atol=1e-4)
    assert "distill" in (run.path / "config.toml").read_text()


def test_a_stopped_run_goes_on_without_its_teacher(
    tiny: Tiny, tmp_path: Path, stop_at: Any, same_end: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wise = tiny("digits:test", out=tmp_path / "wise", image_size=8, evaluate=False)
    options = {"teacher": str(wise.path), "image_size": 8, "health_every": 1, "evaluate": False}
    whole = tiny("digits:test", out=tmp_path / "whole", **options)
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        tiny("digits:test", out=tmp_path / "cut", **options)
    monkeypatch.setattr(teacher, "_encoder", None)
    nf.train(out=tmp_path / "cut", resume=True, evaluate=False)
    same_end(whole.path, tmp_path / "cut")


def test_vectors_of_other_samples_are_not_taken(taught: tuple[Run, Any], tmp_path: Path) -> None:
    run, options = taught
    config = assemble({"data": "digits:test", "steps": 1, **options})
    ready = prepare(config, run=run.path)
    path = run.path / "teacher.safetensors"
    assert teacher._kept(path, ready.source) is not None
    assert teacher._kept(path, ready.source.take(ready.source.usable[::-1])) is None
    path.write_bytes(b"damaged")
    assert teacher._kept(path, ready.source) is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"teacher": "run", "method": "simclr"}, ConfigError, "--teacher goes with --method distill"),
        ({"method": "distill"}, ConfigError, "distill learns from a teacher: give --teacher"),
        ({"teacher": "resnt18"}, UnknownName, "Did you mean 'resnet18'"),
        ({"teacher": "file"}, ConfigError, "file of weights: name its network, --teacher NAME@"),
        ({"teacher": "resnet18@no.pth"}, ConfigError, "'no.pth' is neither 'hub' nor a file of weights"),
    ],
)
def test_what_is_no_teacher_is_refused(
    tiny: Tiny, tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "file")
    if options.get("teacher") in ("run", "file"):
        options = {**options, "teacher": str(tmp_path / options["teacher"])}
    with pytest.raises(error, match=message):
        tiny("digits:test", out=tmp_path / "out", image_size=8, **options)
    assert not (tmp_path / "out").exists()


def test_a_teacher_of_another_kind_is_refused(tiny: Tiny, table: Path, tmp_path: Path) -> None:
    wise = tiny("digits:test", out=tmp_path / "wise", image_size=8, evaluate=False)
    with pytest.raises(ConfigError, match="encoder of the kind image, the data is of the kind table"):
        tiny(table, out=tmp_path / "out", teacher=str(wise.path), encoder=None, width=None)


@pytest.fixture
def weights(tiny: Tiny, tmp_path: Path) -> Path:
    return tiny("digits:test", out=tmp_path / "first", image_size=8, evaluate=False).path / "encoder/model.safetensors"


def test_published_weights_teach_themselves_as_they_came(tiny: Tiny, weights: Path, tmp_path: Path) -> None:
    """The run itself sees smaller pictures than the weights do."""
    options = {"image_size": 16, "pretrained": weights, "evaluate": False}
    run = tiny("digits:test", out=tmp_path / "run", **options)
    settings = (run.path / "config.toml").read_text()
    assert 'method = "distill"' in settings
    assert 'teacher = "self"' in settings
    kept = load_file(run.path / "teacher.safetensors")["vectors"]
    first = nf.load(tmp_path / "first")
    first.output = torch.nn.Identity()
    vectors = torch.from_numpy(nf.embed(first, "digits:test").vectors)
    vectors = vectors - vectors.mean(0)
    torch.testing.assert_close(kept, vectors / vectors.square().mean().sqrt(), rtol=1e-3, atol=1e-3)


def test_a_method_that_is_named_has_no_teacher(tiny: Tiny, weights: Path, tmp_path: Path) -> None:
    run = tiny("digits:test", out=tmp_path / "run", image_size=8, pretrained=weights, method="simclr", evaluate=False)
    assert not (run.path / "teacher.safetensors").exists()


def test_weights_that_would_take_too_much_of_the_time_look_as_the_run_does(
    tiny: Tiny, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(teacher, "SHARE", 0.0)
    with caplog.at_level("INFO", "nearfar"):
        tiny(
            "digits:test",
            out=tmp_path / "run",
            image_size=16,
            pretrained=weights,
            steps=None,
            budget="2s",
            evaluate=False,
        )
    assert "they look as the run itself does" in caplog.text


def test_only_published_weights_teach_themselves(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"teacher self is the published weights .* give --pretrained"):
        tiny("digits:test", out=tmp_path / "run", teacher="self", image_size=8)
