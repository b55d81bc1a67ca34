"""The list of inputs that could not be used, as a file."""

import csv
import os
import tempfile
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from nearfar.data.keys import printable

if TYPE_CHECKING:
    from nearfar.contract import Skipped


def write_skipped(path: str | PathLike[str], skipped: Iterable["Skipped"]) -> None:
    """Write `key,reason` rows as csv, whole or not at all.

    A cell that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    target = Path(path)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["key", "reason"])
            rows.writerows([_cell(one.key), _cell(one.reason)] for one in skipped)
        os.chmod(name, 0o666 & ~_umask())  # mkstemp makes files that only the owner can read
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _cell(text: str) -> str:
    safe = printable(text)
    return f"'{safe}" if safe.startswith(("=", "+", "-", "@")) else safe


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
