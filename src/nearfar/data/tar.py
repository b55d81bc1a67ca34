"""Samples in plain tar files and in WebDataset shards, read in place from any row on."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nearfar.data import splits
from nearfar.data.columns import ROLES
from nearfar.data.contents import Contents, joined
from nearfar.data.folder import extension_of, folders_at, warn_of_held_out
from nearfar.data.keys import printable, unique
from nearfar.data.sample_rows import SampleRows
from nearfar.data.strings import Rows, Strings
from nearfar.data.table_file import Request
from nearfar.data.tar_index import CUT_OFF, Index, index
from nearfar.data.values import DictionaryBuilder, encode

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("nearfar")


class Members(Contents):
    """Samples that are members of one archive."""

    def __init__(self, file: Path, offsets: Rows, sizes: Rows) -> None:
        self._file = file
        self._offsets = offsets
        self._sizes = sizes

    def __len__(self) -> int:
        return len(self._offsets)

    def bytes(self, row: int) -> bytes:
        """The member's content; raises OSError where the archive has become shorter."""
        size = int(self._sizes[row])
        with open(self._file, "rb") as file:
            file.seek(int(self._offsets[row]))
            content = file.read(size)
        if len(content) < size:
            raise OSError(CUT_OFF)
        return content


def read(files: Sequence[Path], request: Request) -> SampleRows:
    """The members of all archives that are samples, with keys `shard.tar#member`.

    Labels are those of `.cls` members, of `.json` members (which may also name group, domain and split), of folders in
    the archive, or of short `.txt` members, whichever comes first. Members that cannot be used are refused; so is an
    archive that cannot be read, which is not fatal beside others.
    """
    found = [index(file) for file in files]
    some = [_samples(one, request.extensions) for one in found]
    names = Strings.joined([one.names.take(rows) for one, rows in zip(found, some, strict=True)])
    said = {kind: _said(found, some, kind) for kind in ("cls", "txt", *ROLES)}
    by_folder, classes = _splits_and_classes(names)
    labels = next((c for c in (said["cls"], said["label"], classes, _few(said["txt"])) if c is not None), None)
    columns = {
        "label": labels,
        "group": said["group"],
        "domain": said["domain"],
        "split": by_folder if said["split"] is None else said["split"],
    }
    if unread := sum(one.unread for one in found):
        log.warning("%s: %d .cls and .json members say nothing that can be used", printable(files[0].name), unread)
    if columns["split"] is None:
        warn_of_held_out(printable(files[0].name), names)
    sizes = [len(rows) for rows in some]
    shards = np.repeat(np.arange(len(files)), sizes)
    return SampleRows(
        keys=unique(
            f"{printable(files[shard].name)}#{printable(name)}"
            for shard, name in zip(shards.tolist(), names, strict=True)
        ),
        contents=joined(
            [
                Members(file, one.offsets[rows], one.sizes[rows])
                for file, one, rows in zip(files, found, some, strict=True)
            ]
        ),
        columns={role: column for role, column in columns.items() if column is not None},
        shards=shards,
        size=sum(int(one.sizes[rows].sum()) for one, rows in zip(found, some, strict=True)),
        ignored=_ignored(found, some),
        refused=[
            (f"{printable(file.name)}#{name}" if name else printable(file.name), reason)
            for file, one in zip(files, found, strict=True)
            for name, reason in one.refused
            if not name or reason == CUT_OFF or extension_of(name) in request.extensions
        ],
    )


def _splits_and_classes(names: Strings) -> "tuple[pa.DictionaryArray | None, pa.DictionaryArray | None]":
    """The split and the class [N] that the folders in the names say, None where they say nothing.

    One folder around all others is passed through.
    """
    depth, top = 0, _level(names, 0)
    while top.null_count == 0 and len(top.dictionary) == 1 and not splits.are_splits(top.dictionary.to_pylist()):
        below = _level(names, depth + 1)
        if below.null_count:
            break
        top, depth = below, depth + 1
    found = splits.folders_of_splits(top.dictionary.to_pylist())
    if found:
        split = [folder if folder in found else None for folder in folders_at(names, depth)]
        return DictionaryBuilder(split).finish(), _or_none(_level(names, depth + 1))
    return None, _or_none(top)


def _level(names: Iterable[str], depth: int) -> "pa.DictionaryArray":
    return DictionaryBuilder(folders_at(names, depth)).finish()


def _or_none(column: "pa.DictionaryArray") -> "pa.DictionaryArray | None":
    return column if len(column.dictionary) else None


def _samples(found: Index, extensions: frozenset[str]) -> Rows:
    return np.array([row for row, name in enumerate(found.names) if extension_of(name) in extensions], dtype=np.int64)


def _said(found: Sequence[Index], some: Sequence[Rows], kind: str) -> "pa.DictionaryArray | None":
    """What the archives say of their samples by one kind of note; None where none says anything."""
    column = DictionaryBuilder()
    for one, rows in zip(found, some, strict=True):
        said = one.said.get(kind)
        for row in rows.tolist():
            column.append(None if said is None else said.at(row))
    return encode(column.finish()) if column.different else None


def _few(texts: "pa.DictionaryArray | None") -> "pa.DictionaryArray | None":
    """The texts, where they can be classes: captions are nearly all different."""
    return texts if texts is not None and 2 * len(texts.dictionary) <= len(texts) else None


def _ignored(found: Sequence[Index], some: Sequence[Rows]) -> Counter[str]:
    """Members that are neither samples nor notes, by extension."""
    ignored: Counter[str] = Counter()
    for one, rows in zip(found, some, strict=True):
        left = np.ones(len(one.names), dtype=bool)
        left[rows] = False
        extensions = Counter(extension_of(name) or "(no extension)" for name in one.names.take(np.flatnonzero(left)))
        ignored.update({k: n for k, n in extensions.items() if k not in (".cls", ".txt", ".json")})
    return ignored
