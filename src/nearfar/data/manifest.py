"""Manifests in text: .csv, .tsv, .jsonl, and lists of one path a line."""

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nearfar.data.contents import Contents, joined, reason_of
from nearfar.data.keys import printable, unique
from nearfar.data.labels import Column
from nearfar.data.sheet import PAIRS, ROLES, Sheet, Wanted, content_column, find_column, folder_of, key_of, of_cells
from nearfar.data.strings import Strings, StringsBuilder
from nearfar.errors import DataError

TABLES = frozenset({".csv", ".tsv", ".jsonl"})
LISTS = frozenset({".txt", ".lst"})

Row = tuple[int, list[Any] | str]
"""A row's number and its cells, or the reason why it has none."""


def read(files: Sequence[Path], wanted: Wanted) -> Sheet:
    """The rows of all files. A malformed row is refused, not fatal; raises DataError where no column holds samples.

    Keys are the paths as written, or `file#row` of cells that are samples themselves.
    """
    keys, refused = StringsBuilder(), list[tuple[str, str]]()
    contents, rows_before = list[Contents](), 0
    roles: dict[str, Column] = {}
    pairs: dict[str, list[Contents]] = {role: [] for role in PAIRS}
    told = set[str]()
    for file in files:
        names, rows = _rows(file)
        content = names.index(content_column(file, names, wanted.columns))
        place = {role: at for role, known in ROLES.items() if (at := _place(names, known)) is not None}
        beside = {role: at for role in PAIRS if (at := _place(names, [role])) is not None}
        for role in place.keys() - roles.keys():
            roles[role] = Column([None] * rows_before)
        cells, others = StringsBuilder(), {role: StringsBuilder() for role in beside}
        name, folder = printable(file.name), folder_of(file)
        for number, row in rows:
            reason = row if isinstance(row, str) else _fault(row[content], wanted.inline)
            if reason is not None:
                refused.append((f"{name}#{number}", reason))
                continue
            cell = str(row[content])
            keys.append(f"{name}#{number}" if wanted.inline else key_of(cell, folder))
            cells.append(cell)
            for role, at in place.items():
                roles[role].append(row[at])
            for role, at in beside.items():
                other = row[at]
                others[role].append("" if other is None else str(other))
                if other not in (None, ""):
                    told.add(role)
        contents.append(of_cells(cells.finish(), file.parent, wanted.inline))
        count = len(contents[-1])
        for role in roles.keys() - place.keys():
            roles[role].extend([None] * count)
        for role in PAIRS:
            texts = others[role].finish() if role in others else Strings.empty(count)
            pairs[role].append(of_cells(texts, file.parent, wanted.inline))
        rows_before += count
    return Sheet(
        keys=unique(keys.finish()),
        contents=joined(contents),
        cells={role: cells for role, cells in roles.items() if cells.says_anything},
        pairs={role: joined(parts) for role, parts in pairs.items() if role in told},
        refused=refused,
    )


def read_list(file: Path, wanted: Wanted) -> Sheet:
    """One path (or one text, where texts are samples) a line; empty lines are passed over."""
    keys, cells, refused = StringsBuilder(), StringsBuilder(), list[tuple[str, str]]()
    name, folder = printable(file.name), folder_of(file)
    for number, line in enumerate(_lines(file)):
        cell = line.rstrip("\r\n") if wanted.inline else line.strip()
        if not line.strip():
            continue
        if (fault := _fault(cell, wanted.inline)) is not None:
            refused.append((f"{name}#{number}", fault))
            continue
        keys.append(f"{name}#{number}" if wanted.inline else key_of(cell, folder))
        cells.append(cell)
    return Sheet(
        keys=unique(keys.finish()), contents=of_cells(cells.finish(), file.parent, wanted.inline), refused=refused
    )


def split_names(files: Sequence[Path], wanted: Wanted) -> list[str]:
    """What stands in the column `split`, in order of appearance; nothing without such a column."""
    found: dict[str, None] = {}
    for file in files:
        names, rows = _rows(file)
        at = _place(names, ROLES["split"])
        if at is not None:
            found.update((str(row[at] or "").strip(), None) for _, row in rows if not isinstance(row, str))
    return [name for name in found if name]


def _place(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    column = find_column(names, wanted)
    return None if column is None else names.index(column)


def _rows(file: Path) -> tuple[list[str], Iterator[Row]]:
    if file.suffix.lower() == ".jsonl":
        return _json_rows(file)
    return _csv_rows(file)


def _csv_rows(file: Path) -> tuple[list[str], Iterator[Row]]:
    lines = _lines(file)
    first = next((line for line in lines if line.strip("\r\n")), "")
    delimiter = "\t" if file.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
    reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter)  # a row may have several lines
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise DataError(f"{printable(str(file))!r}: its header is no row of a table: {error}.") from None

    def rows() -> Iterator[Row]:
        number = -1
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                number += 1
                yield number, f"not a row of a table: {error}"
                continue
            if not fields:
                continue
            number += 1
            if len(fields) != len(header):
                yield number, f"{len(fields)} fields where the header has {len(header)}"
            else:
                yield number, fields

    return header, rows()


def _json_rows(file: Path) -> tuple[list[str], Iterator[Row]]:
    # Read twice: which columns there are is only known at the end, and the rows are not to be held until then.
    found: dict[str, None] = {}
    for _, row in _json_objects(file):
        if isinstance(row, dict):
            found.update(dict.fromkeys(row))
    names = list(found)
    return names, (
        (number, row if isinstance(row, str) else [row.get(name) for name in names])
        for number, row in _json_objects(file)
    )


def _json_objects(file: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    lines = (line for line in _lines(file) if line.strip())
    for number, line in enumerate(lines):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            yield number, "not a line of JSON"
            continue
        yield number, row if isinstance(row, dict) else "not a JSON object"


def _lines(file: Path) -> Iterator[str]:
    """The lines of a text file: UTF-8, or UTF-16 as spreadsheets save it; other bytes survive as escapes."""
    try:
        with open(file, "rb") as raw:
            wide = raw.read(2) in (b"\xff\xfe", b"\xfe\xff")
        encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "surrogateescape")
        with open(file, encoding=encoding, errors=errors, newline="") as text:
            yield from text
    except OSError as error:
        raise DataError(f"{printable(str(file))!r} cannot be read: {reason_of(error)}.") from None


def _fault(cell: Any, inline: bool) -> str | None:
    if cell is None or not str(cell).strip():
        return "empty cell"
    if not isinstance(cell, str | int | float):
        return "neither a text nor a path"
    if not inline and "\0" in str(cell):
        return "a path with a NUL character"
    return None
