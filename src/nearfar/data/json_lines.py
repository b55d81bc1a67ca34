"""Lines of JSON: one object a line, its names are the columns."""

import itertools
import json
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfar.data.contents import reason_of
from nearfar.data.keys import printable
from nearfar.data.strings import StringsBuilder
from nearfar.data.table_file import Columns, TableFile
from nearfar.data.values import strings
from nearfar.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("nearfar")


class JsonLines(TableFile):
    """A `.jsonl` file; a line that is no object is refused, not fatal."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        found: dict[str, None] = {}
        for _, row in self._objects():
            if isinstance(row, dict):
                found.update(dict.fromkeys(row))
        self.names = tuple(found)

    def read(self, at: Sequence[int]) -> Columns:
        """The columns at these places as text, empty where a line says nothing."""
        names = [self.names[i] for i in at]
        builders = [StringsBuilder() for _ in at]
        numbers, refused, nested = list[int](), list[tuple[int, str]](), dict[str, int]()
        for number, row in self._objects():
            if isinstance(row, str):
                refused.append((number, row))
                continue
            numbers.append(number)
            for name, builder in zip(names, builders, strict=True):
                cell = _text(row.get(name))
                if cell is None:
                    nested[name] = nested.get(name, 0) + 1
                builder.append(cell or "")
        for name, count in nested.items():
            log.warning("%s: %d cells of %r hold lists or objects: they count as missing", self.name, count, name)
        return Columns([builder.finish().array for builder in builders], np.array(numbers, dtype=np.int64), refused)

    def lists(self, name: str) -> list[list[str]] | None:
        """The lists of texts of a column, and single texts as lists of one."""
        cells = [row.get(name) for _, row in self._objects() if isinstance(row, dict)]
        if not any(isinstance(cell, list) for cell in cells):
            return None
        each = [cell if isinstance(cell, list) else [cell] for cell in cells]
        return [[text for text in cell if isinstance(text, str) and text.strip()] for cell in each]

    def head(self, count: int) -> dict[str, list[str]]:
        """The first cells of each column, empty where there is none."""
        rows = [row for _, row in itertools.islice(self._objects(), count) if isinstance(row, dict)]
        return {name: [_text(row.get(name)) or "" for row in rows] for name in self.names}

    def plain(self, column: "pa.Array") -> "pa.Array":
        """The cells as text."""
        return strings(column)

    def _objects(self) -> Iterator[tuple[int, dict[str, Any] | str]]:
        for number, line in enumerate(line for line in lines_of(self.file) if line.strip()):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                yield number, "not a line of JSON"
                continue
            yield number, row if isinstance(row, dict) else "not a JSON object"


def lines_of(file: Path) -> Iterator[str]:
    """The lines of a text file: UTF-8, or UTF-16 as spreadsheets save it; other bytes survive as escapes."""
    try:
        with open(file, "rb") as raw:
            wide = raw.read(2) in (b"\xff\xfe", b"\xfe\xff")
        encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "surrogateescape")
        with open(file, encoding=encoding, errors=errors, newline="") as text:
            yield from text
    except OSError as error:
        raise DataError(f"{printable(str(file))!r} cannot be read: {reason_of(error)}.") from None


def _text(cell: Any) -> str | None:
    """A value as text, empty where it is none; None for lists and objects."""
    if isinstance(cell, str):
        return cell
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return None if isinstance(cell, list | dict) else str(cell)
