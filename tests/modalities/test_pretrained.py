"""Weights are found in whatever a training code writes, by name and shape, and nothing of a file is run."""

import argparse
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nearfar.errors import ConfigError
from nearfar.modalities import pretrained
from tests.altering import Bomb


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    block = nn.ModuleDict({"stem": nn.Linear(4, 4), "norm": nn.BatchNorm1d(4)})
    return nn.ModuleDict({"stem": nn.Linear(3, 4), "block": block})


def state(seed: int, prefix: str = "", *without: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in network(seed).state_dict().items() if name not in without}


HEAD = {"module.head.stem.weight": torch.zeros(4, 3), "fc.weight": torch.zeros(7, 4)}
FILES: dict[str, tuple[dict[str, Any], str]] = {
    "plain": (state(1), ""),
    "lightning": ({"state_dict": state(1, "model.backbone.") | HEAD, "epoch": 3}, "state_dict.model.backbone."),
    "timm": ({"model": state(1), "args": argparse.Namespace(lr=0.1)}, "model."),
    "timm's average": ({"state_dict": state(2), "state_dict_ema": state(1)}, "state_dict_ema."),
    "MoCo": (
        {"state_dict": state(2, "module.encoder_k.") | state(1, "module.encoder_q."), "optimizer": {"state": {}}},
        "state_dict.module.encoder_q.",
    ),
    "DINO": (
        {"student": state(2, "module.backbone."), "teacher": state(1, "backbone."), "args": argparse.Namespace()},
        "teacher.backbone.",
    ),
    "BYOL": (state(1, "online_encoder.") | state(2, "target_encoder."), "online_encoder."),
    "a whole one beside a part": (state(2, "student.backbone.", "stem.bias") | state(1, "encoder."), "encoder."),
}


@pytest.mark.parametrize("name", FILES)
def test_weights_are_found_under_whatever_prefix(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    content, prefix = FILES[name]
    torch.save(content, tmp_path / "file.pth")
    mine = network(0)
    with caplog.at_level(logging.INFO, logger="nearfar"):
        assert pretrained.load(mine, pretrained.read(tmp_path / "file.pth"), "file.pth", "toy") == []
    assert all(torch.equal(value, mine.state_dict()[key]) for key, value in state(1).items())
    assert "9 of 9 weights of toy are taken from 'file.pth'" in caplog.text
    assert (f"under {prefix!r}" in caplog.text) == bool(prefix)


def test_what_does_not_fit_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_file(state(1, "", "stem.bias") | HEAD, tmp_path / "a.safetensors")
    mine = network(0)
    with caplog.at_level(logging.INFO, logger="nearfar"):
        assert pretrained.load(mine, pretrained.read(tmp_path / "a.safetensors"), "a", "toy") == ["stem.bias"]
    assert torch.equal(mine.state_dict()["stem.bias"], state(0)["stem.bias"])
    assert "1 of 9 weights are not in 'a' and start fresh: stem.bias" in caplog.text
    assert "not used are 2 others: " in caplog.text


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"a.b": torch.zeros(2)}, "0 of 9 weights have its names and shapes; it has a.b. Give"),
        (
            {name: value if value.ndim == 0 else torch.zeros(5) for name, value in state(1, "m.").items()},
            r"1 of 9 .* under 'm.' \(stem.weight is \[5\], not \[4, 3\]; stem.bias is \[5\], not \[4\]\)",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_what_it_has(found: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pretrained.load(network(), found, "file", "toy")


def test_weights_that_are_not_finite_are_refused_by_name() -> None:
    own = network()
    found = {name: value.clone() for name, value in own.state_dict().items()}
    name = next(name for name, value in found.items() if value.is_floating_point())
    found[name].view(-1)[0] = torch.nan
    with pytest.raises(ConfigError, match=f"weights that are not finite.*{re.escape(name)}"):
        pretrained.load(own, found, "file", "toy")


class Model(nn.Linear):
    """Of a user: its class is code."""


def scripted(path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)


WRONG = {
    "missing.pth": (lambda path: None, "is neither 'hub' nor a file"),
    "text.pth": (lambda path: path.write_text("no weights"), "cannot be read as weights: it is no file of PyTorch"),
    "hello.pth": (lambda path: path.write_text("hello"), "cannot be read as weights: it is no file of PyTorch"),
    "tensor.pth": (lambda path: torch.save(torch.zeros(2), path), "holds no weights: a dictionary"),
    "text.safetensors": (lambda path: path.write_text("no weights"), "cannot be read as weights"),
    "module.pth": (
        lambda path: torch.save(Model(2, 2), path),
        r"Python objects \(tests.modalities.test_pretrained.Model\), .* could run code.*state_dict",
    ),
    "bomb.pth": (lambda path: torch.save(Bomb(path.with_suffix(".mark")), path), "could run code"),
    "script.pt": (scripted, "is a TorchScript program"),
    "list.pth": (lambda path: torch.save([torch.zeros(2)], path), "holds no weights: a dictionary"),
}


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_holds_no_weights_is_refused_without_unsafe_advice(tmp_path: Path, name: str) -> None:
    write, text = WRONG[name]
    write(tmp_path / name)  # type: ignore[no-untyped-call]
    with pytest.raises(ConfigError, match=text) as raised:
        pretrained.read(tmp_path / name)
    assert not re.search("weights_only|allowlist|add_safe_globals|trust", str(raised.value))
    assert not list(tmp_path.glob("*.mark"))
