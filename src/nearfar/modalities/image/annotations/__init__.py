"""What is said of places in pictures: masks, boxes, and how large the pictures are. Each kind is a file here."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nearfar.contract import Annotations, Wanted
    from nearfar.modalities.image.source import ImageSource


def annotations_of(source: "ImageSource", wanted: "Wanted") -> "Annotations":
    """The annotations of a source's pictures; raises ConfigError and DataError where there are none."""
    found: Annotations = import_module(f"nearfar.modalities.image.annotations.{wanted.kind}").of(source, wanted)
    return found
