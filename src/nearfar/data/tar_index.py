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

from nearfar.data.columns import ROLES, find_column
from nearfar.data.contents import reason_of
from nearfar.data.folder import is_passed_over
from nearfar.data.keys import printable
from nearfar.data.strings import Strings, StringsBuilder
from nearfar.data.tar_headers import Member, members
from nearfar.data.values import DictionaryBuilder

CUT_OFF = "cut off by the end of the archive"

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
    share their name up to the first dot speak of one sample, as in WebDataset. `unread` counts labels that are there
    and cannot be used. `refused` holds (name, reason), the name empty where the archive itself is damaged.
    """

    names: Strings
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    said: dict[str, DictionaryBuilder]
    unread: int
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
        return CUT_OFF
    return None


class _Indexing:
    """Takes members one by one; those of one sample get what its notes say, wherever these stand."""

    def __init__(self) -> None:
        self._names = StringsBuilder()
        self._offsets, self._sizes = array("q"), array("q")
        self._said: dict[str, DictionaryBuilder] = {}
        self._captions = False
        self._stem: str | None = None
        self._notes: dict[str, str] = {}
        self._apart: dict[str, dict[str, str]] = {}  # notes that follow no sample, by their stem
        self._members = self._samples = self._unread = 0
        self._only_notes = True

    def add(self, name: str, offset: int, size: int, archive: BinaryIO) -> None:
        """One more member."""
        stem, extension = _stem(name)
        if stem != self._stem:
            self._close()
            self._stem = stem
        if extension in ("cls", "txt", "json"):
            if size <= _LARGEST_NOTE:
                place = archive.tell()
                archive.seek(offset)
                said = _note(extension, archive.read(size))
                archive.seek(place)
            else:
                said = None
            self._notes.update(said or {})
            self._unread += said is None and extension != "txt"
        else:
            self._only_notes = False
        self._names.append(name)
        self._offsets.append(offset)
        self._sizes.append(size)
        self._members += 1

    def done(self, refused: list[tuple[str, str]]) -> Index:
        """The index of all members."""
        self._close()
        names = self._names.finish()
        return Index(
            names,
            np.array(self._offsets, dtype=np.int64),
            np.array(self._sizes, dtype=np.int64),
            self._with_those_apart(names) if self._apart else self._said,
            self._unread,
            tuple(refused),
        )

    def _close(self) -> None:
        self._samples += 1
        if self._captions:
            self._notes.pop("txt", None)
        if self._stem is not None and self._only_notes and self._notes:
            self._apart[self._stem] = self._notes
        for kind in self._notes.keys() - self._said.keys():
            self._said[kind] = DictionaryBuilder()
            self._said[kind].repeat(None, len(self._offsets) - self._members)
        for kind, column in self._said.items():
            column.repeat(self._notes.get(kind), self._members)
        texts = self._said.get("txt")
        if texts is not None and texts.different > max(_CAPTIONS, self._samples / 2):
            self._captions = True
            del self._said["txt"]
        self._members = 0
        self._notes = {}
        self._only_notes = True

    def _with_those_apart(self, names: Strings) -> dict[str, DictionaryBuilder]:
        found = {kind: DictionaryBuilder() for kind in self._said}
        for row, name in enumerate(names):
            apart = self._apart.get(_stem(name)[0], {})
            for kind, column in self._said.items():
                found[kind].append(column.at(row) or apart.get(kind))
        return found


def _stem(name: str) -> tuple[str, str]:
    """The name up to its first dot, which members of one sample share, and the last extension in lower case."""
    folder, _, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}/{stem}", extension.rpartition(".")[2].lower()


def _note(extension: str, content: bytes) -> dict[str, str] | None:
    """What a small member says of its sample, by kind; None where it is there and cannot be used."""
    text = content.decode("utf-8", "replace").strip()
    if extension != "json":
        return {extension: text} if 0 < len(text) <= _LONGEST_LABEL and "\n" not in text else None
    try:
        said: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if said is None or isinstance(said, list):
        return None
    if not isinstance(said, dict):
        return {"label": str(said)}
    found = {role: find_column(list(said), known) for role, known in ROLES.items()}
    cells = {role: said[name] for role, name in found.items() if name is not None and said[name] is not None}
    if isinstance(cells.get("label"), list | dict):
        return None
    return {role: str(cell) for role, cell in cells.items() if isinstance(cell, str | int | float)}
