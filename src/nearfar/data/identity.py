"""Names for the content of samples, made without reading it: the same name means the same bytes, from run to run."""

import hashlib
import os
from collections.abc import Iterator
from functools import cached_property

from nearfar.data.location import files_of
from nearfar.data.samples import Samples
from nearfar.errors import DataError


class Identity:
    """Names the contents of a listing's samples; `data` is the path that the listing was made from.

    A file is named by its path, size and time of change; a row of a container by those of all files of `data`, and by
    its number.
    """

    def __init__(self, listing: Samples, data: str) -> None:
        self.place = os.path.abspath(data)
        self._listing = listing
        self._data = data

    @cached_property
    def _in_container(self) -> bool:
        """Whether the samples are rows of a container, and not files of their own."""
        return len(self._listing) > 0 and self._listing.path(0) is None

    @property
    def known(self) -> bool:
        """Whether the samples can be named: those that come from no file cannot."""
        return not self._in_container or self._container is not None

    def of(self, row: int) -> int | None:
        """64 bits that name the content of a sample; None where there is no file to tell."""
        path = self._listing.path(row)
        if path is None:
            return None if self._container is None else _named(self._container, int(self._listing.rows[row]))
        try:
            return _named(*_stamp(os.path.abspath(path)))
        except OSError:
            return None

    @cached_property
    def _container(self) -> str | None:
        """Stands for all files that hold the rows."""
        try:
            stamps = [_stamp(os.path.abspath(path)) for path in sorted(_files(self._data))]
        except OSError:
            return None
        return str(_named(*(fact for stamp in stamps for fact in stamp))) if stamps else None


def _files(data: str) -> Iterator[str]:
    if os.path.isdir(data):
        for folder, _, names in os.walk(data):
            yield from (os.path.join(folder, name) for name in names)
        return
    try:
        yield from map(str, files_of(data))
    except DataError:  # no files: a name on the hub, or a built-in
        return


def _stamp(path: str) -> tuple[str, int, int]:
    status = os.stat(path)
    return path, status.st_size, status.st_mtime_ns


def _named(*facts: str | int) -> int:
    found = hashlib.blake2b(repr(facts).encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(found, "little", signed=True)
