"""Data sets of Hugging Face, by name or saved in a folder: `hf:NAME`, `hf:PATH`, by the package `datasets`."""

import os
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.contents import Files, spread
from nearfar.data.keys import printable
from nearfar.data.labels import Column
from nearfar.data.patterns import HUB
from nearfar.data.sheet import ROLES, Sheet, Wanted, content_column, find_column
from nearfar.data.strings import Strings
from nearfar.errors import DataError, MissingExtra

Rows = NDArray[np.int64]


class HubRows:
    """Samples in a column of a data set, not decoded: `{bytes, path}`, bytes or texts."""

    in_groups: bool = False

    def __init__(self, rows: Any, column: str) -> None:
        self._rows = rows
        self._column = column
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def has(self, row: int) -> bool:
        """Always."""
        return True

    def bytes(self, row: int) -> bytes:
        """The cell's content, or that of the file it names."""
        with self._lock:
            cell = self._rows[row][self._column]
        if isinstance(cell, dict):
            content, path = cell.get("bytes"), cell.get("path")
            if content is None and path:
                return Files([path]).bytes(0)
            cell = content
        if not cell:
            raise OSError("empty cell")
        return cell.encode() if isinstance(cell, str) else bytes(cell)

    def array(self, row: int) -> NDArray[Any] | None:
        """None: the content is bytes."""
        return None

    def path(self, row: int) -> str | None:
        """None: a row is no file."""
        return None

    def near(self, rows: Rows, count: int) -> Rows:
        """Evenly spread rows."""
        return spread(rows, count)


def split_names(data: str) -> list[str]:
    """The splits of a data set; none where it is one table."""
    found = _opened(data)
    return list(found) if isinstance(found, dict) else []


def read(data: str, split: str | None, wanted: Wanted) -> Sheet:
    """The rows of a split, or of all of them, with keys `name#row` (`name#split/row`).

    The column of samples is found by its feature (an `Image`), else by name; labels by `ClassLabel`, else by name.
    Raises DataError, and MissingExtra without the package.
    """
    import datasets

    found = _opened(data)
    name = printable(os.path.basename(os.path.abspath(data.removeprefix(HUB))))
    parts = found if isinstance(found, dict) else {"": found}
    parts = parts if split is None else {split: parts[split]}
    whole = datasets.concatenate_datasets(list(parts.values())) if len(parts) > 1 else next(iter(parts.values()))
    features = whole.features
    images = [column for column, kind in features.items() if isinstance(kind, datasets.Image)]
    content = next((column for column in images if column.lower() in wanted.columns), images[0] if images else None)
    content = content or content_column(Path(name), list(features), wanted.columns)
    classes = [column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    places = {role: find_column(list(features), known) for role, known in ROLES.items() if role != "split"}
    places["label"] = places["label"] or (classes[0] if classes else None)
    if content in images:
        whole = whole.cast_column(content, datasets.Image(decode=False))
    names = features[places["label"]].names if places["label"] in classes else None
    numbered = ((part, row) for part, rows in parts.items() for row in range(len(rows)))
    return Sheet(
        keys=Strings.of(f"{name}#{part}/{row}" if part else f"{name}#{row}" for part, row in numbered),
        contents=HubRows(whole.select_columns([content]), content),
        cells={role: _column(whole, place) for role, place in places.items() if place is not None},
        class_names=names,
    )


def _column(rows: Any, name: str) -> Column:
    found = Column()
    for batch in rows.select_columns([name]).with_format("arrow").iter(10_000):
        found.extend(batch.column(name).to_pylist())
    return found


@lru_cache(maxsize=4)
def _opened(data: str) -> Any:
    """The data set, or its splits by name."""
    try:
        import datasets
    except ImportError:
        raise MissingExtra("Data by the name hf:...", "datasets", "hub") from None

    place = data.removeprefix(HUB)
    try:
        if os.path.isdir(place):
            return datasets.load_from_disk(place)
        if place.startswith((".", "/", "~")):
            raise DataError(f"There is no folder {printable(place)!r} with a saved data set.")
        return datasets.load_dataset(place)
    except DataError:
        raise
    except Exception as error:  # the package's own, and those of all that it stands on
        said = " ".join(str(error).split())[:200]
        raise DataError(
            f"{printable(data)!r} cannot be opened by the package datasets: {said or type(error).__name__}"
        ) from None
