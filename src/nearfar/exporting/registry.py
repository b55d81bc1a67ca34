"""The targets there are: a name, and a line for each. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nearfar.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from nearfar.contract import Encoder
    from nearfar.exporting.written import Written

WHITENING, PREPROCESSING = "whitening", "preprocessing"
PARTS = {
    WHITENING: "the last layer of a finished encoder",
    PREPROCESSING: "what is done to samples before the network",
}
NONE = "none"


class Target(NamedTuple):
    """A form that encoders are written in."""

    line: str
    holds: Sequence[str] = (WHITENING,)
    """Which of `PARTS` may go inside."""


TARGETS: dict[str, Target] = {
    "timm": Target("a state dict of timm's own network, for encoders of pictures that timm has"),
    "torchvision": Target("a state dict of torchvision's own network, for encoders of pictures that it has"),
    "torch": Target("a program of torch.export (.pt2), which needs torch alone", (WHITENING, PREPROCESSING)),
    "onnx": Target("a program for onnxruntime and others (.onnx)", (WHITENING, PREPROCESSING)),
    "safetensors": Target("the weights, and a config by which nearfar loads them"),
    "sentence-transformers": Target("a folder that SentenceTransformer(DIR) loads: encoders of texts"),
}

Write = Callable[["Encoder", Path, frozenset[str]], "Written"]


def load(name: str) -> Write:
    """What writes an encoder with some of `PARTS` into a folder that is there."""
    found: Write = import_module(f"nearfar.exporting.{name.replace('-', '_')}").write
    return found


def check_parts(name: str, parts: Sequence[str]) -> None:
    """Raise ConfigError where a target cannot hold some of these parts; UnknownName where there is none of a name."""
    if name not in TARGETS:
        raise UnknownName("target of export", name, TARGETS)
    for part in parts:
        if part not in PARTS and (part != NONE or len(parts) > 1):
            raise UnknownName("part of an export", part, [*PARTS, NONE])
        if part in PARTS and part not in TARGETS[name].holds:
            able = ", ".join(one for one in TARGETS if part in TARGETS[one].holds)
            raise ConfigError(f"The form {name} holds no {part} ({PARTS[part]}): {able} can.")
