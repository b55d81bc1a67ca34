"""Predicted masks as pictures in a folder: one PNG with a palette each, and the names of the classes beside them."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from nearfar.contract.annotations import palette
from nearfar.downstream.task import Record, Write
from nearfar.errors import ConfigError, OutputError
from nearfar.files import check_writable, write

CLASSES = "classes.txt"


class MaskFolder:
    """Writes `KEY.png` of each picture into a new folder, class numbers as pixels, and `classes.txt`."""

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.folder, self.classes = folder, classes

    draws = False

    def drawn(self, record: Record) -> Mapping[str, Any]:
        """The mask."""
        return {"mask": record["mask"]}

    def check(self) -> None:
        """The folder must be new or empty."""
        if self.folder.suffix:
            raise ConfigError(
                f"Masks are written into a folder, a file for each picture: name a folder, not {str(self.folder)!r}."
            )
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise OutputError(f"{str(self.folder)!r} is there already: remove it, or give another folder to write to.")
        check_writable(self.folder)

    @contextmanager
    def writing(self) -> Iterator[Write]:
        """Each mask is written as it comes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self.folder / CLASSES, "".join(f"{name}\n" for name in self.classes).encode())
        taken: set[str] = set()

        def written(records: Sequence[Record]) -> None:
            for record in records:
                image = Image.fromarray(record["mask"], "P")
                image.putpalette(palette().tobytes())
                file = io.BytesIO()
                image.save(file, "PNG")
                place = self.folder / file_below(str(record["key"]), taken, ".png")
                place.parent.mkdir(parents=True, exist_ok=True)
                write(place, file.getvalue())

        yield written

    def count(self, record: Record) -> list[str]:
        """The classes that are in a mask."""
        return [self.classes[number] for number in np.unique(record["mask"]).tolist()]


def file_below(key: str, taken: set[str], ending: str) -> str:
    """A file below the folder for the picture `key`: never outside of it, never one that is taken."""
    parts = [part for part in PurePosixPath(key.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    stem = str(PurePosixPath(*parts).with_suffix("")) if parts else "picture"
    name, number = f"{stem}{ending}", 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}{ending}"
    taken.add(name)
    return name
