"""The list of inputs that could not be used, as a file."""

import csv
import io
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from nearfar import files
from nearfar.data.keys import printable

if TYPE_CHECKING:
    from nearfar.contract import Skipped


def write_skipped(path: str | PathLike[str], skipped: Iterable["Skipped"]) -> None:
    """Write `key,reason` rows as csv, atomically; raises as `files.write`.

    A cell that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["key", "reason"])
    rows.writerows([_cell(one.key), _cell(one.reason)] for one in skipped)
    files.write(Path(path), text.getvalue())


def _cell(text: str) -> str:
    safe = printable(text)
    return f"'{safe}" if safe.startswith(("=", "+", "-", "@")) else safe
