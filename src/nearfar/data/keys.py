"""Names of samples: printable whatever bytes a file system holds, and never twice the same."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nearfar.data.strings import Strings

_RUN = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell begins with that a spreadsheet runs as a formula: also the wide forms of `=+-@`."""

_GUARDED = re.compile("'+[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")


def printable(text: str) -> str:
    """The text with control characters and undecodable bytes written as escapes such as `\\xff`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def unique(keys: Iterable[str]) -> Strings:
    """The keys as they are, and `#row` added to those that occur more than once."""
    import pyarrow.compute as pc

    found = Strings.of(keys)
    if pc.count_distinct(found.array).as_py() == len(found):
        return found
    encoded = found.array.dictionary_encode()
    codes = encoded.indices.to_numpy()
    again = (np.bincount(codes) > 1)[codes].tolist()
    return Strings.of(f"{key}#{row}" if again[row] else key for row, key in enumerate(found))


def all_printable(names: Strings, before: str = "") -> Strings:
    """The names behind `before`, as `printable` writes them."""
    if not before and not names.matching(r"[^\x20-\x7e]").any():
        return names  # a million stay as they are
    return Strings.of(printable(before + name) for name in names)


def keys_of(cells: Strings, folder: str) -> Strings:
    """The keys of samples that are files, as `key_of` says each."""
    if not cells.matching(r"^[\s./~]|^.:|\s$|[^\x20-\x7e]|\\").any():
        return cells
    return Strings.of(key_of(cell, folder) for cell in cells)


def key_of(cell: str, folder: str) -> str:
    """The key of a sample that is a file: its path as written, relative to the manifest where it lies beside it.

    `folder` is the manifest's, as `folder_of` says it.
    """
    if os.path.isabs(cell):
        cell = cell.removeprefix(folder)
    return printable(cell.strip().replace(os.sep, "/").removeprefix("./"))


def folder_of(file: Path) -> str:
    """The folder of a manifest, absolute and with a separator at its end."""
    return os.path.join(os.path.abspath(file.parent), "")


def guarded(cell: str) -> str:
    """A cell of a csv file that no spreadsheet runs as a formula: an apostrophe stands before those that one would."""
    return f"'{cell}" if cell.startswith(_RUN) or _GUARDED.match(cell) else cell


def unguarded(cell: str) -> str:
    """The cell as it was before `guarded`."""
    return cell[1:] if _GUARDED.match(cell) else cell


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # surrogateescape: a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
