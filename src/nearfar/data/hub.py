"""Data sets of Hugging Face, by name or saved in a folder: `hf:NAME`, `hf:PATH`, by the package `datasets`."""

import os
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np

from nearfar.data.columns import find_column
from nearfar.data.contents import Contents, Files, joined
from nearfar.data.keys import printable
from nearfar.data.location import HUB, is_written_as_path
from nearfar.data.table_file import Columns, Request, TableFile
from nearfar.errors import DataError, MissingExtra


class HubRows(Contents):
    """Samples in a column of a data set, not decoded: `{bytes, path}`, bytes or texts."""

    def __init__(self, rows: Any, column: str) -> None:
        self._rows = rows
        self._column = column
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

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


class HubTable(TableFile):
    """The rows of a split, "" for a data set that has none.

    The column of samples is found by its feature (an `Image`), else by name; labels by name, else by `ClassLabel`.
    """

    def __init__(self, data: str, split: str, rows: Any, request: Request) -> None:
        import datasets

        super().__init__(Path(os.path.abspath(data.removeprefix(HUB))))
        self.rows = rows
        self.split = split or None
        self.before += f"{split}/" if split else ""
        names = list(rows.features)
        images = [name for name in names if isinstance(rows.features[name], datasets.Image)]
        self.classes = [name for name in names if isinstance(rows.features[name], datasets.ClassLabel)]
        self._own = {name: name for name in names}
        if images and request.columns and find_column(images, request.columns) is None:
            self._rename(images[0], request.columns[0])
        self.names = tuple(self._own)

    def _rename(self, name: str, new: str) -> None:
        """Show a column by another name, in its place."""
        self._own = {new if shown == name else shown: own for shown, own in self._own.items() if shown != new}

    def read(self, at: Sequence[int]) -> Columns:
        """The columns at these places."""
        import pyarrow as pa

        names = [self._own[self.names[i]] for i in at]
        batches = [batch for batch in self.rows.select_columns(names).with_format("arrow").iter(10_000)] if at else []
        tables = pa.concat_tables(batches) if batches else self.rows.features.arrow_schema.empty_table()
        return Columns([tables.column(name) for name in names], np.arange(len(self.rows)))

    @classmethod
    def stored(cls, tables: Sequence[Self], name: str, request: Request) -> Contents | None:
        """The cells as the package keeps them, images not decoded."""
        import datasets

        parts = []
        for table in tables:
            own, rows = table._own[name], table.rows
            if isinstance(rows.features[own], datasets.Image):
                rows = rows.cast_column(own, datasets.Image(decode=False))
            parts.append(HubRows(rows.select_columns([own]), own))
        return joined(parts)

    def class_names(self, at: int) -> Sequence[str] | None:
        """The names of a `ClassLabel`."""
        names = getattr(self.rows.features[self._own[self.names[at]]], "names", None)
        return None if names is None else list(names)


def split_names(data: str) -> list[str]:
    """The splits of a data set; none where it is one table."""
    found = _opened(data)
    return list(found) if isinstance(found, dict) else []


def open_hub(data: str, split: str | None, request: Request) -> list[HubTable]:
    """A table for each split, or that of the one asked for; raises DataError, and MissingExtra without the package."""
    found = _opened(data)
    parts = found if isinstance(found, dict) else {"": found}
    return [HubTable(data, name, rows, request) for name, rows in parts.items() if split is None or name == split]


@lru_cache(maxsize=4)
def _opened(data: str) -> Any:
    """The data set, or its splits by name."""
    try:
        import datasets
    except ImportError:
        raise MissingExtra("Data by the name hf:...", "datasets", "hub") from None

    place = data.removeprefix(HUB)
    local = os.path.isdir(os.path.expanduser(place))
    try:
        if is_written_as_path(place):
            if not local:
                raise DataError(f"There is no folder {printable(place)!r} with a saved data set.")
            return datasets.load_from_disk(os.path.expanduser(place))
        if local:  # the package would take it
            raise DataError(
                f"{printable(data)!r} names a data set of Hugging Face, and here is a folder of that name: write "
                f"hf:./{printable(place)} for a data set saved in it, {printable(place)} for its files, or start from "
                "another folder."
            )
        return datasets.load_dataset(place)
    except DataError:
        raise
    except Exception as error:  # the package's own, and those of all that it stands on
        said = " ".join(str(error).split())[:200]
        raise DataError(
            f"{printable(data)!r} cannot be opened by the package datasets: {said or type(error).__name__}"
        ) from None
