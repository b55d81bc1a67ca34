"""Manifests in text: .csv, .tsv, .jsonl, and lists of one path a line."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nearfar.errors import DataError
from nearfar.modalities.contents import reason_of
from nearfar.modalities.keys import printable, unique
from nearfar.modalities.sheet import PAIRS, ROLES, Sheet, content_column, find_column, key_of, of_cells

TABLES = frozenset({".csv", ".tsv", ".jsonl"})
LISTS = frozenset({".txt", ".lst"})

Row = tuple[int, dict[str, Any] | str]
"""A row's number and its cells, or the reason why it has none."""


def read(files: Sequence[Path], columns: Sequence[str], *, inline: bool) -> Sheet:
    """The rows of all files. A malformed row is refused, not fatal; raises DataError where no column holds samples.

    With `inline` the cells are the samples themselves, else paths relative to the file. Keys are the paths as written,
    or `file#row`.
    """
    keys: list[str] = []
    cells: list[str] = []
    folders: list[Path] = []
    roles: dict[str, list[Any]] = {role: [] for role in (*ROLES, *PAIRS)}
    refused: list[tuple[str, str]] = []
    for file in files:
        names, rows = _rows(file)
        content = content_column(file, names, columns)
        found = {role: find_column(names, wanted) for role, wanted in ROLES.items()}
        found |= {role: find_column(names, [role]) for role in PAIRS}
        for number, row in rows:
            reason = row if isinstance(row, str) else _fault(row.get(content), inline)
            if reason is not None or isinstance(row, str):
                refused.append((f"{printable(file.name)}#{number}", str(reason)))
                continue
            cell = str(row[content])
            keys.append(f"{printable(file.name)}#{number}" if inline else key_of(cell, file.parent))
            cells.append(cell)
            folders.append(file.parent)
            for role, column in found.items():
                roles[role].append(None if column is None else row.get(column))
    said = {role: values for role, values in roles.items() if any(value not in (None, "") for value in values)}
    return Sheet(
        keys=unique(keys),
        contents=of_cells(cells, folders, inline),
        cells={role: said[role] for role in ROLES if role in said},
        pairs={
            role: of_cells([None if c in (None, "") else str(c) for c in said[role]], folders, inline)
            for role in PAIRS
            if role in said
        },
        refused=refused,
    )


def read_list(file: Path, *, inline: bool) -> Sheet:
    """One path (with `inline`, one text) a line; empty lines are passed over."""
    lines = [(n, line.rstrip("\r\n")) for n, line in enumerate(_lines(file))]
    lines = [(n, line if inline else line.strip()) for n, line in lines if line.strip()]
    name = printable(file.name)
    faults = [(f"{name}#{n}", fault) for n, line in lines if (fault := _fault(line, inline)) is not None]
    lines = [(n, line) for n, line in lines if _fault(line, inline) is None]
    keys = [f"{name}#{n}" if inline else key_of(line, file.parent) for n, line in lines]
    cells = [line for _, line in lines]
    return Sheet(keys=unique(keys), contents=of_cells(cells, [file.parent] * len(cells), inline), refused=faults)


def split_names(file: Path) -> list[str]:
    """What stands in the column `split`, in order of appearance; nothing without such a column."""
    names, rows = _rows(file)
    column = find_column(names, ROLES["split"])
    if column is None:
        return []
    found = (str(row.get(column) or "").strip() for _, row in rows if not isinstance(row, str))
    return [name for name in dict.fromkeys(found) if name]


def _rows(file: Path) -> tuple[list[str], Iterator[Row]]:
    if file.suffix.lower() == ".jsonl":
        return _json_rows(file)
    return _csv_rows(file)


def _csv_rows(file: Path) -> tuple[list[str], Iterator[Row]]:
    lines = _lines(file)
    first = next(lines, "")
    delimiter = "\t" if file.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
    header = next(csv.reader([first], delimiter=delimiter), [])

    def rows() -> Iterator[Row]:
        reader = csv.reader(lines, delimiter=delimiter)
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
                yield number, dict(zip(header, fields, strict=True))

    return header, rows()


def _json_rows(file: Path) -> tuple[list[str], Iterator[Row]]:
    parsed: list[Row] = []
    names: dict[str, None] = {}
    number = -1
    for line in _lines(file):
        if not line.strip():
            continue
        number += 1
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            parsed.append((number, "not a line of JSON"))
            continue
        if isinstance(row, dict):
            names.update(dict.fromkeys(row))
            parsed.append((number, row))
        else:
            parsed.append((number, "not a JSON object"))
    return list(names), iter(parsed)


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
