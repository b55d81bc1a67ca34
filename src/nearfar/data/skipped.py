"""The list of inputs that could not be used, as a file."""

import csv
import io
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from nearfar import files
from nearfar.data.keys import guarded, printable, unguarded

if TYPE_CHECKING:
    from nearfar.contract import Skipped


def read_skipped(path: str | PathLike[str]) -> "list[Skipped]":
    """What `write_skipped` wrote; nothing where there is no such file, or it cannot be read."""
    from nearfar.contract import Skipped

    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            rows = list(csv.reader(file))[1:]
    except (OSError, csv.Error):
        return []
    return [Skipped(unguarded(row[0]), unguarded(row[1])) for row in rows if len(row) == 2]


def write_skipped(path: str | PathLike[str], skipped: Iterable["Skipped"]) -> None:
    """Write `key,reason` rows as csv, atomically; raises as `files.write`.

    Cells that a spreadsheet would run as formulas are `guarded`.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["key", "reason"])
    rows.writerows([guarded(printable(one.key)), guarded(printable(one.reason))] for one in skipped)
    files.write(Path(path), text.getvalue())
