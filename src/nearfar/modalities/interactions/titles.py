"""What items are called: a column of titles beside the interactions, or another file of the folder that lists items."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nearfar.data.columns import find_column
from nearfar.data.reader import open_tables
from nearfar.data.table_file import Request, TableFile
from nearfar.data.values import encode
from nearfar.errors import DataError
from nearfar.modalities.interactions.columns import ITEMS, TITLES, USERS

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
_MOST = 100
"""Files of a folder that are looked at."""


def tables_in(folder: Path) -> list[TableFile]:
    """The tables that lie in a folder; those that cannot be read are passed over."""
    found: list[TableFile] = []
    for file in sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLES)[:_MOST]:
        try:
            found += open_tables([file], Request())
        except DataError:
            continue
    return found


def interactions_in(folder: Path) -> Path | None:
    """The table of a folder that says who had what: of several, the largest; None where there is none."""
    found = [table.file for table in tables_in(folder) if all(find_column(table.names, c) for c in (USERS, ITEMS))]
    return max(found, key=lambda file: file.stat().st_size, default=None)


def titles_beside(file: Path) -> dict[str, str]:
    """Names of items and their titles, from a table in the same folder that lists each item once; empty without one."""
    if not file.is_file():
        return {}
    for table in tables_in(file.parent):
        item, title = find_column(table.names, ITEMS), find_column(table.names, TITLES)
        if item is None or title is None or find_column(table.names, USERS) or os.path.samefile(table.file, file):
            continue
        names = list(table.names)
        cells = table.read([names.index(item), names.index(title)]).cells
        if found := _paired(*cells):
            return found
    return {}


def titles_of(table: pa.Table) -> dict[str, str]:
    """Names of items and their titles where the interactions themselves have a column of them; else empty."""
    item, title = (find_column(table.column_names, wanted) for wanted in (ITEMS, TITLES))
    return {} if item is None or title is None else _paired(table[item], table[title])


def _paired(items: pa.Array | pa.ChunkedArray, titles: pa.Array | pa.ChunkedArray) -> dict[str, str]:
    names, called = encode(items), encode(titles)
    if names is None or called is None:
        return {}
    pairs = zip(names.to_pylist(), called.to_pylist(), strict=True)
    return {name: title for name, title in pairs if name is not None and title is not None}
