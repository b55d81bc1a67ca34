"""Which columns of a manifest hold which side."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from nearfar.contract import Modality
from nearfar.data import kinds
from nearfar.data.columns import ROLES, find_column, is_row_number, shown
from nearfar.data.location import files_of, is_hub, parse_data
from nearfar.data.reader import are_rows, open_tables
from nearfar.data.table_file import Request
from nearfar.errors import DataError
from nearfar.modalities.pairs.options import read_sides

Head = Mapping[str, Sequence[str]]
"""The first cells of each column as text."""

_ROWS = 1_000


def head_of(data: str) -> Head:
    """The first cells of the columns of a table; nothing of other data. Raises DataError for data that is not there."""
    files = _tables(data)
    return open_tables(files[:1], Request())[0].head(_ROWS) if files else {}


def lists_of(data: str, column: str) -> list[list[str]] | None:
    """The cells of a column of lists of texts; None where it holds no lists."""
    tables = open_tables(_tables(data), Request())
    found = [table.lists(column) for table in tables]
    if all(one is None for one in found):
        return None
    return [cell for one in found for cell in one or ()]


def _tables(data: str) -> Sequence[Path]:
    path, _ = parse_data(data)
    if is_hub(path) or os.path.isdir(path):
        return []
    files = files_of(path)
    return files if are_rows(files) and files[0].suffix.lower() != ".tar" else []


def columns_of(
    data: str, head: Head, names: Sequence[str], sides: Sequence[Modality], given: str | None
) -> list[list[str]]:
    """The columns of each side, none where the data lacks it; a side of whole rows has all that are left over.

    `given` are those that the option names. Raises DataError for one that is not there.
    """
    asked = read_sides("side_columns", given, names)
    found: list[list[str]] = [[] for _ in sides]
    taken: list[str] = []
    for i, name in enumerate(names):
        for wanted in filter(None, (one.strip() for one in asked.get(name, "").split("+"))):
            column = find_column(list(head), [wanted])
            if column is None:
                raise DataError(f"{data!r} has no column {wanted!r}: its columns are {shown(list(head))}.")
            found[i].append(column)
            taken.append(column)
    by_name = [i for i, side in enumerate(sides) if side.columns and not side.inline]
    inline = [i for i, side in enumerate(sides) if side.columns and side.inline]
    whole = [i for i, side in enumerate(sides) if not side.columns]
    for i in [*by_name, *inline, *whole]:
        if not found[i]:
            found[i] = _of_side(sides[i], {name: cells for name, cells in head.items() if name not in taken})
            taken += found[i]
    return found


def _of_side(side: Modality, head: Head) -> list[str]:
    """The columns of one side among those that no other side has."""
    roles = {name for known in ROLES.values() for name in known}
    able = [name for name in head if name.strip().lower() not in roles and not is_row_number(name)]
    if not side.columns:
        return [name for name in able if name.strip().lower() != "id"]
    if side.inline:
        captions = kinds.captions({name: head[name] for name in able})
        return [name for name in able if name in captions or name.strip().lower() in side.columns]
    column = find_column(able, side.columns) or next(
        (name for name in able if kinds.name_files(head[name], side.extensions)), None
    )
    return [] if column is None else [column]
