"""Where the bytes of samples lie: in files, in cells, in containers. They are read when asked for, by row."""

import errno
import os
import re
import stat
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

_ODD = re.compile("\\\\|://|^\\s|\\s$|[\udc80-\udcff]")


class Contents:
    """The raw content of N samples. Reading raises OSError where there is nothing to read."""

    in_groups: bool = False
    """Whether a row is read with many others only, so that another order than theirs costs much more."""

    def __len__(self) -> int:
        raise NotImplementedError

    def has(self, row: int) -> bool:
        """Whether the user gave anything there."""
        return True

    def bytes(self, row: int) -> bytes:
        """The content of one sample."""
        raise OSError("a row without a content of its own")

    def array(self, row: int) -> NDArray[Any] | None:
        """The sample `[H, W]` or `[H, W, C]` where it is an array of numbers; None where it is bytes."""
        return None

    def path(self, row: int) -> str | None:
        """The file that is the sample, where it is one."""
        return None

    def near(self, rows: Rows, count: int) -> Rows:
        """At most `count` of `rows`, evenly spread as far as reading them stays cheap."""
        return spread(rows, count)


class Nothing(Contents):
    """N samples without a content of their own: rows of a table, which are read as columns."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def has(self, row: int) -> bool:
        """Never."""
        return False


class Files(Contents):
    """Samples that are files, one each, named relative to `folder`; an empty name stands for a missing one."""

    def __init__(self, names: Sequence[str], folder: str = "") -> None:
        self._names = names
        self._folder = folder

    def __len__(self) -> int:
        return len(self._names)

    def has(self, row: int) -> bool:
        """Whether there is a name."""
        return bool(self._names[row])

    def bytes(self, row: int) -> bytes:
        """The file's content; raises OSError with a short reason where it is no plain, readable file."""
        path = self.path(row)
        if path is None:
            raise OSError("no path given")
        size_of(path)  # it is a plain file
        with open(path, "rb") as file:
            return file.read()

    def path(self, row: int) -> str | None:
        """The file."""
        name = self._names[row]
        return located(name, self._folder) if name else None


class Cells(Contents):
    """Samples that are texts (read as UTF-8) or bytes held in memory; an empty one stands for a missing one."""

    def __init__(self, cells: Sequence[str] | Sequence[bytes]) -> None:
        self._cells = cells

    def __len__(self) -> int:
        return len(self._cells)

    def has(self, row: int) -> bool:
        """Whether the cell holds anything."""
        return bool(self._cells[row])

    def bytes(self, row: int) -> bytes:
        """The cell's content."""
        cell = self._cells[row]
        if not cell:
            raise OSError("empty cell")
        return cell.encode("utf-8", "surrogateescape") if isinstance(cell, str) else cell


class Joined(Contents):
    """The samples of several contents, one after another."""

    def __init__(self, parts: Sequence[Contents]) -> None:
        self.in_groups = any(part.in_groups for part in parts)
        self._parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def has(self, row: int) -> bool:
        """What the part that has the row says."""
        part, at = self._place(row)
        return part.has(at)

    def bytes(self, row: int) -> bytes:
        """The content, from the part that has it."""
        part, at = self._place(row)
        return part.bytes(at)

    def array(self, row: int) -> NDArray[Any] | None:
        """The array, from the part that has it."""
        part, at = self._place(row)
        return part.array(at)

    def path(self, row: int) -> str | None:
        """The file, from the part that has it."""
        part, at = self._place(row)
        return part.path(at)

    def near(self, rows: Rows, count: int) -> Rows:
        """Rows near by the measure of each part, as many of each as its share."""
        rows = np.sort(rows)
        bounds = np.searchsorted(rows, self._starts)
        shares = np.diff(np.round(count * bounds / max(1, len(rows))).astype(np.int64))
        found = [
            part.near(rows[first:last] - start, share) + start
            for part, start, first, last, share in zip(
                self._parts, self._starts, bounds, bounds[1:], shares.tolist(), strict=False
            )
            if share
        ]
        return np.concatenate(found) if found else rows[:0]

    def _place(self, row: int) -> tuple[Contents, int]:
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._parts[part], row - int(self._starts[part])


def joined(parts: Sequence[Contents]) -> Contents:
    """Contents one after another; of a single one, itself."""
    return parts[0] if len(parts) == 1 else Joined(parts)


def located(name: str, folder: str) -> str:
    """The path that a name in a manifest in `folder` means.

    Where there is no such file, it may have been written on Windows (backslashes, another encoding) or with spaces
    around it.
    """
    path = os.path.join(folder, os.path.expanduser(name) if name.startswith("~") else name)
    try:
        os.fsencode(path)
    except UnicodeEncodeError:  # of a file system that is ASCII to Python: the name's bytes are UTF-8
        path = os.fsdecode(path.encode("utf-8", "surrogateescape"))
    odd = _ODD.search(name) is not None and "\0" not in name
    if odd and not os.path.exists(path):
        for other in (name.strip(), name.strip().replace("\\", "/"), _western(name)):
            if os.path.exists(found := os.path.join(folder, other)):
                return found
        return name if "://" in name else path
    return path


def _western(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("cp1252", "replace").strip().replace("\\", "/")


def size_of(path: str | os.PathLike[str]) -> int:
    """The size of a plain file in bytes; raises OSError with a short reason for anything else.

    Reading a pipe or a device would never end.
    """
    if "://" in (name := os.fspath(path)) and not os.path.exists(name):
        raise OSError("a web address: download it first")
    if "\0" in name:
        raise OSError("not a path")
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise OSError("a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a plain file")
    return status.st_size


def reason_of(error: OSError) -> str:
    """A few words on why a file could not be read."""
    known = {
        errno.ENOENT: "no such file",
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.ENOTDIR: "no such file",
        errno.EISDIR: "a folder, not a file",
        errno.ELOOP: "a link that leads to itself",
        errno.ENAMETOOLONG: "name too long",
    }
    if error.errno is None:
        return str(error)[:120] or type(error).__name__
    return known.get(error.errno, error.strerror or type(error).__name__)


def spread(rows: Rows, count: int) -> Rows:
    """At most `count` of `rows`, evenly spread."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]
