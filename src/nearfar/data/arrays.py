"""Pictures in `.npy` and `.npz` files: arrays of bytes `[N, H, W]` or `[N, H, W, C]`, mapped and not loaded."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data import npy
from nearfar.data.contents import Contents, joined, spread
from nearfar.data.keys import printable, unique
from nearfar.data.labels import Column
from nearfar.data.sheet import Sheet, Wanted
from nearfar.data.splits import SPLITS
from nearfar.errors import DataError

Rows = NDArray[np.int64]

_LABELS = ("y", "label", "labels", "target", "targets", "class", "classes")


class Pictures:
    """Samples that are pictures of an array; read as portable maps: a header, and the bytes as they are."""

    in_groups: bool = False

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def has(self, row: int) -> bool:
        """Always."""
        return True

    def bytes(self, row: int) -> bytes:
        """The picture as a `.pgm` or `.ppm` file."""
        picture = self._array[row]
        kind = b"P6" if picture.ndim == 3 and picture.shape[2] == 3 else b"P5"
        content: bytes = b"%s %d %d 255\n" % (kind, picture.shape[1], picture.shape[0]) + picture.tobytes()
        return content

    def array(self, row: int) -> NDArray[Any] | None:
        """The picture as it lies in the file."""
        found: NDArray[Any] = self._array[row]
        return found

    def path(self, row: int) -> str | None:
        """None: a row is no file."""
        return None

    def near(self, rows: Rows, count: int) -> Rows:
        """Evenly spread rows."""
        return spread(rows, count)


def read(files: Sequence[Path], wanted: Wanted) -> Sheet:
    """The pictures of all arrays, with keys `file#row` (`file#split/row` where a file holds splits).

    An `.npz` file may hold labels, one a picture, and splits, by the names of its arrays: `x_train` and `y_train`,
    `test_images` and `test_labels`. Raises DataError where the arrays are no pictures, and which are is not clear.
    """
    keys, contents = list[str](), list[Contents]()
    labels, splits = Column(), Column()
    for file in files:
        for split, (images, classes) in _pictures(file).items():
            contents.append(Pictures(images))
            before = f"{printable(file.name)}#" + (f"{split}/" if split else "")
            keys += [f"{before}{row}" for row in range(len(images))]
            labels.extend([None] * len(images) if classes is None else classes.tolist())
            splits.extend([split or None] * len(images))
    cells = {"label": labels, "split": splits}
    return Sheet(
        keys=unique(keys),
        contents=joined(contents),
        cells={role: column for role, column in cells.items() if column.says_anything},
    )


def split_names(files: Sequence[Path], wanted: Wanted) -> list[str]:
    """The splits that the arrays' names tell of."""
    return list(dict.fromkeys(split for file in files for split in _pictures(file) if split))


def _pictures(file: Path) -> dict[str, tuple[NDArray[np.uint8], NDArray[Any] | None]]:
    """The pictures and their labels by split, "" for none."""
    arrays = npy.arrays(file)
    images = {name: array for name, array in arrays.items() if array.ndim in (3, 4)}
    found: dict[str, tuple[NDArray[np.uint8], NDArray[Any] | None]] = {}
    for name, array in images.items():
        split = _split(name)
        if split in found:
            raise DataError(
                f"{printable(str(file))!r} holds the arrays {', '.join(images)}: which are the pictures is not clear; "
                "keep one of them, and its labels as `y`."
            )
        _check(file, name, array)
        beside = {other: one for other, one in arrays.items() if _split(other) == split and _is_column(one, len(array))}
        chosen = [one for other, one in beside.items() if set(_words(other)) & set(_LABELS)]
        classes = chosen[0] if chosen else next(iter(beside.values())) if len(beside) == 1 else None
        found[split] = array, None if classes is None else classes.reshape(-1)
    if not found:
        shown = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()) or "none"
        raise DataError(
            f"{printable(str(file))!r} holds no pictures: its arrays are {shown}; give one of bytes (uint8) of shape "
            "[N, H, W] or [N, H, W, 3]."
        )
    return found


def _check(file: Path, name: str, array: NDArray[Any]) -> None:
    if array.dtype != np.uint8 or (array.ndim == 4 and array.shape[3] not in (1, 3)) or 0 in array.shape:
        raise DataError(
            f"{printable(str(file))!r}: {name} is {array.dtype} of shape {list(array.shape)}; pictures are bytes "
            "(uint8) of shape [N, H, W], [N, H, W, 1] or [N, H, W, 3]."
        )


def _is_column(array: NDArray[Any], rows: int) -> bool:
    return array.shape in ((rows,), (rows, 1)) and array.dtype.kind in "biuSU"


def _split(name: str) -> str:
    return next((word for word in _words(name) if word in SPLITS), "")


def _words(name: str) -> list[str]:
    return re.split(r"[\W_]+", name.lower())
