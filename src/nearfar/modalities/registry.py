"""The modalities there are: a name, which is also the folder's, and a line for each. Imports nothing heavy."""

from importlib import import_module
from typing import TYPE_CHECKING

from nearfar.errors import UnknownName

if TYPE_CHECKING:
    from nearfar.contract import Modality

MODALITIES: dict[str, str] = {
    "image": "pictures: a folder, a manifest with a column of paths, arrays, or the built-in digits",
    "table": "rows of numbers and categories: .csv, .tsv, .parquet, .npy, .npz",
}

BUILTINS = frozenset({"digits"})
"""Data that comes with the package; `./digits` is a folder of that name."""


def known(name: str) -> str:
    """`name`, where a modality has it; raises UnknownName."""
    if name not in MODALITIES:
        raise UnknownName("modality", name, MODALITIES)
    return name


def load(name: str) -> "Modality":
    """A modality: `MODALITY` of the folder `nearfar/modalities/<name>/`; raises UnknownName."""
    modality: Modality = import_module(f"nearfar.modalities.{known(name)}").MODALITY
    return modality


def find(data: str) -> str:
    """The modality of `data`: a table where its file holds rows without a column of pictures, else images."""
    from nearfar.modalities.table import claims

    return "table" if claims(data) else "image"


def options(name: str) -> type:
    """The dataclass of a modality's options, such as `ImageOptions`, read without torch; raises UnknownName."""
    found: type = getattr(import_module(f"nearfar.modalities.{known(name)}.options"), f"{name.title()}Options")
    return found


def encoders(name: str) -> dict[str, str]:
    """The encoders that a modality offers, and a line for each, read without torch; raises UnknownName."""
    found: dict[str, str] = import_module(f"nearfar.modalities.{known(name)}.options").ENCODERS
    return found
