"""Samples in `.npy` and `.npz` files: pictures `[N, ...]` of any number of channels, or rows `[N, C]` of a table.

The arrays are mapped, not loaded, where they lie in the file uncompressed.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfar.data import npy
from nearfar.data.contents import Contents, joined
from nearfar.data.keys import printable
from nearfar.data.splits import canonical
from nearfar.data.table_file import Columns, Request, TableFile
from nearfar.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("nearfar")

_LABELS = {"y", "label", "labels", "target", "targets", "class", "classes"}
_SPLITS = {"train", "val", "test", "eval"}
_SAMPLES = {"x", "data", "image", "images", "features"}
_FEW = 4  # so many channels pictures for the eye have at most


class Arrays(Contents):
    """Samples that lie one behind the other in an array, `[N, H, W]`, `[N, H, W, C]` or (`first`) `[N, C, H, W]`."""

    def __init__(self, array: NDArray[Any], *, first: bool) -> None:
        self._array = array
        self._first = first

    def __len__(self) -> int:
        return len(self._array)

    def bytes(self, row: int) -> bytes:
        """The numbers of one sample, as they lie in memory."""
        found: bytes = self._array[row].tobytes()
        return found

    def array(self, row: int) -> NDArray[Any] | None:
        """The sample as `[H, W]` or `[H, W, C]`."""
        found: NDArray[Any] = self._array[row]
        return found.transpose(1, 2, 0) if self._first else found


class ArrayTable(TableFile):
    """The samples of a file of arrays that belong to one split, "" for none, and their labels."""

    def __init__(
        self,
        file: Path,
        split: str,
        samples: NDArray[Any],
        labels: "pa.Array | None",
        content: str,
        labels_name: str = "label",
    ) -> None:
        super().__init__(file)
        self.samples = samples
        self.labels = labels
        self.split = split or None
        self.before += f"{split}/" if split else ""
        names = [content] if content else list(samples.dtype.names or map(str, range(samples.shape[1])))
        self.names = (*names, labels_name) if labels is not None else tuple(names)

    def read(self, at: Sequence[int]) -> Columns:
        """The columns at these places."""
        return Columns([self._column(i) for i in at], np.arange(len(self.samples)))

    def _column(self, i: int) -> "pa.Array":
        import pyarrow as pa

        if self.labels is not None and i == len(self.names) - 1:
            return self.labels
        cells = self.samples[self.names[i]] if self.samples.dtype.names else self.samples[:, i]
        return pa.array(_native(cells))

    @classmethod
    def stored(cls, tables: Sequence[Self], name: str, request: Request) -> Contents | None:
        """The samples, mapped; not the labels."""
        parts = []
        for table in tables:
            first = table.samples.ndim == 4 and _channels_come_first(table.samples.shape[1:])
            if table.samples.ndim == 4:
                log.info("%s: %s", table.name, "[N, C, H, W]" if first else "[N, H, W, C]")
            parts.append(Arrays(table.samples, first=first))
        return joined(parts)


def open_arrays(file: Path, request: Request) -> list[ArrayTable]:
    """The samples of a file, a table for each split; rows of a table where no column of samples is asked for.

    An `.npz` file may hold labels, one a sample, and splits, by the names of its arrays: `x_train` and `y_train`,
    `test_images` and `test_labels`; labels of another name are those that the request names. Raises DataError where the
    arrays are no samples, and which are is not clear.
    """
    arrays = npy.arrays(file)
    content = request.columns[0] if request.columns else ""
    asked = [name for name in (request.label_column, request.labels_in) if name is not None]
    by_split: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        by_split.setdefault(_split(name), {})[name] = array
    found = []
    for split, some in by_split.items():
        named = next(((other, wanted) for wanted in asked for other in some if _goes_by(other, wanted)), None)
        others = {other: array for other, array in some.items() if named is None or other != named[0]}
        if (chosen := _samples(file, others, arrays, bool(content))) is not None:
            labels = {other: array for other, array in some.items() if other != chosen}
            if named is not None:
                labels = {named[0]: some[named[0]]}
            column = _labels(file, labels, len(some[chosen]), chosen=named is not None)
            found.append(ArrayTable(file, split, some[chosen], column, content, named[1] if named else "label"))
    if not found:
        shown = ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in arrays.items()) or "none"
        wanted = "pictures [N, H, W], [N, H, W, C] or [N, C, H, W]" if content else "rows of a table [rows, columns]"
        raise DataError(f"{printable(str(file))!r} holds no {wanted} of numbers: its arrays are {shown}.")
    return found


def _samples(file: Path, some: dict[str, NDArray[Any]], arrays: dict[str, NDArray[Any]], pictures: bool) -> str | None:
    """The name of the array of samples among those of one split."""

    def fits(array: NDArray[Any]) -> bool:
        if not pictures and array.dtype.names is not None:
            return array.ndim == 1 and len(array) > 0
        numbers = array.dtype.kind in "biuf" and 0 not in array.shape
        return numbers and (array.ndim in (3, 4) if pictures else array.ndim == 2)

    fitting = [name for name, array in some.items() if fits(array) and not is_label(name)]
    named = [name for name in fitting if set(_words(name)) & _SAMPLES]
    if len(fitting) > 1 and len(named) != 1:
        raise DataError(
            f"{printable(str(file))!r} holds the arrays {', '.join(arrays)}: which are the samples is not clear; "
            "keep one of them as `x`, and its labels as `y`."
        )
    return next(iter(named or fitting), None)


def _labels(file: Path, arrays: dict[str, NDArray[Any]], count: int, *, chosen: bool) -> "pa.Array | None":
    """The labels among the other arrays of a split, the only one if `chosen`, or a warning that says why not."""
    import pyarrow as pa

    named = [name for name in arrays if chosen or is_label(name)]
    columns = [name for name, array in arrays.items() if array.shape in ((count,), (count, 1))]
    columns = [name for name in columns if arrays[name].dtype.kind in "biuSU"]
    name = named[0] if named else columns[0] if len(columns) == 1 else None
    if name is None:
        return None
    array = arrays[name]
    if array.shape[:1] != (count,):
        why = f"holds {array.shape[0] if array.ndim else 'no'} labels for {count} samples"
    elif array.dtype.kind not in "biufSUM":
        why = f"holds {array.dtype}, neither numbers nor texts"
    elif array.size == count:
        return pa.array(_native(array.reshape(-1)))
    elif array.ndim == 2 and array.dtype.kind in "biuf" and is_one_hot(array):
        return pa.array(np.argmax(array, axis=1))
    else:
        why = f"has the shape {list(array.shape)} and is not one-hot"
    log.warning("%s: %s %s: no labels.", printable(file.name), name, why)
    return None


def is_one_hot(array: NDArray[Any]) -> bool:
    """Whether each row `[N, C]` is 1 once and 0 elsewhere."""
    return bool(np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all())


def _channels_come_first(shape: tuple[int, ...]) -> bool:
    """Whether pictures of a shape are `[C, H, W]`: few channels, or sides that are equal, tell."""
    first, middle, last = shape
    if last <= _FEW or (first == middle != last):
        return False
    return first <= _FEW or middle == last != first or first < min(middle, last)


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """The same numbers in this machine's order of bytes."""
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))


def _split(name: str) -> str:
    return next((word for word in _words(name) if canonical(word) in _SPLITS), "")


def _goes_by(name: str, wanted: str) -> bool:
    """Whether an array has the wanted name, perhaps with that of its split."""
    return [word for word in _words(name) if canonical(word) not in _SPLITS] == _words(wanted.strip())


def is_label(name: str) -> bool:
    """Whether an array's name says that it holds labels."""
    return bool(set(_words(name)) & _LABELS)


def _words(name: str) -> list[str]:
    return re.split(r"[\W_]+", name.lower())
