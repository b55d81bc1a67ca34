"""The list of inputs that could not be used, as a file."""

import csv
import io
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from nearfar import files
from nearfar.data.keys import guarded, printable

if TYPE_CHECKING:
    from nearfar.contract import Skipped


def write_skipped(path: str | PathLike[str], skipped: Iterable["Skipped"]) -> None:
    """Write `key,reason` rows as csv, atomically; raises as `files.write`.

    Cells that a spreadsheet would run as formulas are `guarded`.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["key", "reason"])
    rows.writerows([guarded(printable(one.key)), guarded(printable(one.reason))] for one in skipped)
    files.write(Path(path), text.getvalue())
