"""What lies where in a tar file, and what its members say of one another.

Nothing is unpacked, so no member's name is ever a path on this machine; links, devices and sparse files are refused,
and so are names that lead out of the archive.
"""

import json
import os
from array import array
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nearfar.data.contents import reason_of
from nearfar.data.folder import is_passed_over
from nearfar.data.keys import printable
from nearfar.data.labels import Column
from nearfar.data.sheet import ROLES, find_column
from nearfar.data.strings import Strings, StringsBuilder
from nearfar.data.tar_headers import Member, members

LARGEST = 2**30
"""Bytes of a member from where it is no sample but a mistake."""

_LARGEST_NOTE = 2**16
_LONGEST_LABEL = 64
_CAPTIONS = 1000
"""From this many different `.txt` on, they are captions where they are more than half of all."""


@dataclass(frozen=True)
class Index:
    """N plain files of one archive: names, where their bytes begin, how many there are; and what others say of them.

    `said` has a column [N] for each of `cls`, `txt` and the roles of `.json` members that says anything: members that
    follow one another and share their name up to the first dot speak of one sample, as in WebDataset. `refused` holds
    (name, reason), the name empty where the archive itself is damaged.
    """

    names: Strings
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    said: dict[str, Column]
    refused: tuple[tuple[str, str], ...]


def index(file: Path) -> Index:
    """The index of an archive; one that cannot be read has no members, and the reason among `refused`."""
    try:
        status = os.stat(file)
    except OSError as error:
        return _Indexing().done([("", reason_of(error))])
    return _index(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _index(file: Path, size: int, changed: int) -> Index:
    indexing, refused = _Indexing(), list[tuple[str, str]]()
    try:
        with open(file, "rb") as archive:
            for found in members(archive, size):
                if isinstance(found, str):
                    refused.append(("", found))
                    continue
                name = found.name.removeprefix("./")
                if not name or any(map(_is_left_out, name.split("/"))):
                    continue
                if (reason := found.fault or _fault(found, name, size)) is not None:
                    refused.append((printable(name), reason))
                    continue
                indexing.add(name, found.offset, found.size, archive)
    except OSError as error:
        refused.append(("", reason_of(error)))
    return indexing.done(refused)


def _is_left_out(part: str) -> bool:
    return part != ".." and (is_passed_over(part) or (part.startswith("__") and part.endswith("__")))


def _fault(found: Member, name: str, size: int) -> str | None:
    if name.startswith("/") or ".." in name.split("/"):
        return "a name that leads out of the archive"
    if found.size > LARGEST:
        return f"larger than {LARGEST // 2**20} MiB"
    if found.offset + found.size > size:
        return "cut off by the end of the archive"
    return None


class _Indexing:
    """Takes members one by one; those of one sample, which follow one another, get what its notes say."""

    def __init__(self) -> None:
        self._names = StringsBuilder()
        self._offsets, self._sizes = array("q"), array("q")
        self._said: dict[str, Column] = {}
        self._captions = False
        self._stem: str | None = None
        self._notes: dict[str, str] = {}
        self._members = self._samples = 0

    def add(self, name: str, offset: int, size: int, archive: BinaryIO) -> None:
        """One more member."""
        folder, _, base = name.rpartition("/")
        stem, _, extension = base.partition(".")
        if f"{folder}/{stem}" != self._stem:
            self._close()
            self._stem = f"{folder}/{stem}"
        if extension in ("cls", "txt", "json") and size <= _LARGEST_NOTE:
            place = archive.tell()
            archive.seek(offset)
            self._notes.update(_note(extension, archive.read(size)))
            archive.seek(place)
        self._names.append(name)
        self._offsets.append(offset)
        self._sizes.append(size)
        self._members += 1

    def done(self, refused: list[tuple[str, str]]) -> Index:
        """The index of all members."""
        self._close()
        return Index(
            self._names.finish(),
            np.array(self._offsets, dtype=np.int64),
            np.array(self._sizes, dtype=np.int64),
            self._said,
            tuple(refused),
        )

    def _close(self) -> None:
        self._samples += 1
        if self._captions:
            self._notes.pop("txt", None)
        for kind in self._notes.keys() - self._said.keys():
            self._said[kind] = Column([None] * (len(self._offsets) - self._members))
        for kind, column in self._said.items():
            column.extend([self._notes.get(kind)] * self._members)
        texts = self._said.get("txt")
        if texts is not None and len(texts.values) > max(_CAPTIONS, self._samples / 2):
            self._captions = True
            del self._said["txt"]
        self._members = 0
        self._notes = {}


def _note(extension: str, content: bytes) -> dict[str, str]:
    """What a small member says of its sample, by kind."""
    text = content.decode("utf-8", "replace").strip()
    if extension != "json":
        return {extension: text} if 0 < len(text) <= _LONGEST_LABEL and "\n" not in text else {}
    try:
        said: Any = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {} if isinstance(said, list) or said is None else {"label": str(said)}
    found = {role: find_column(list(said), known) for role, known in ROLES.items()}
    cells = {role: said[name] for role, name in found.items() if name is not None}
    return {role: str(cell) for role, cell in cells.items() if isinstance(cell, str | int | float)}
