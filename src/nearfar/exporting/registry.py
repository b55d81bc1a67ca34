"""The targets there are: a name, and a line for each. Imports nothing heavy."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from nearfar.errors import UnknownName

if TYPE_CHECKING:
    from nearfar.contract import Encoder

TARGETS: dict[str, str] = {
    "sentence-transformers": "a folder that SentenceTransformer(DIR) loads: encoders of texts",
}


def load(name: str) -> "Callable[[Encoder, Path], None]":
    """What writes an encoder into a folder that is there; raises UnknownName."""
    if name not in TARGETS:
        raise UnknownName("target of export", name, TARGETS)
    found: Callable[[Encoder, Path], None] = import_module(f"nearfar.exporting.{name.replace('-', '_')}").write
    return found
