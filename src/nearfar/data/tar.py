"""Samples in plain tar files and in WebDataset shards, read in place from any row on."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.contents import joined, spread
from nearfar.data.folder import extension_of
from nearfar.data.keys import printable, unique
from nearfar.data.labels import Column
from nearfar.data.sheet import ROLES, Sheet, Wanted
from nearfar.data.strings import Strings
from nearfar.data.tar_index import Index, index
from nearfar.data.tree import splits_and_classes

Rows = NDArray[np.int64]


class Members:
    """Samples that are members of one archive."""

    in_groups: bool = False

    def __init__(self, file: Path, offsets: Rows, sizes: Rows) -> None:
        self._file = file
        self._offsets = offsets
        self._sizes = sizes

    def __len__(self) -> int:
        return len(self._offsets)

    def has(self, row: int) -> bool:
        """Always."""
        return True

    def bytes(self, row: int) -> bytes:
        """The member's content; raises OSError where the archive has become shorter."""
        size = int(self._sizes[row])
        with open(self._file, "rb") as file:
            file.seek(int(self._offsets[row]))
            content = file.read(size)
        if len(content) < size:
            raise OSError("cut off by the end of the archive")
        return content

    def array(self, row: int) -> NDArray[Any] | None:
        """None: the content is bytes."""
        return None

    def path(self, row: int) -> str | None:
        """None: a member is no file."""
        return None

    def near(self, rows: Rows, count: int) -> Rows:
        """Evenly spread rows."""
        return spread(rows, count)


def read(files: Sequence[Path], wanted: Wanted) -> Sheet:
    """The members of all archives that are samples, with keys `shard.tar#member`.

    Labels are those of `.cls` members, of `.json` members (which may also name group, domain and split), of folders in
    the archive, or of short `.txt` members, whichever comes first. Members that cannot be used are refused; so is an
    archive that cannot be read, which is not fatal beside others.
    """
    found = [index(file) for file in files]
    some = [_samples(one, wanted.extensions) for one in found]
    names = _names(found, some)
    said = {kind: _said(found, some, kind) for kind in ("cls", "txt", *ROLES)}
    splits, classes = splits_and_classes(names)
    labels = next((c for c in (said["cls"], said["label"], classes, _few(said["txt"])) if c is not None), None)
    cells = {"label": labels, "group": said["group"], "domain": said["domain"], "split": said["split"] or splits}
    sizes = [len(rows) for rows in some]
    shards = np.repeat(np.arange(len(files)), sizes)
    return Sheet(
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
        cells={role: column for role, column in cells.items() if column is not None},
        shards=shards,
        size=sum(int(one.sizes[rows].sum()) for one, rows in zip(found, some, strict=True)),
        ignored=_ignored(found, some),
        refused=[
            (f"{printable(file.name)}#{name}" if name else printable(file.name), reason)
            for file, one in zip(files, found, strict=True)
            for name, reason in one.refused
            if not name or extension_of(name) in wanted.extensions
        ],
    )


def split_names(files: Sequence[Path], wanted: Wanted) -> list[str]:
    """The splits that the archives hold, by `.json` members or by folders; none where they hold none."""
    found = [index(file) for file in files]
    some = [_samples(one, wanted.extensions) for one in found]
    column = _said(found, some, "split") or splits_and_classes(_names(found, some))[0]
    return [] if column is None else [value for value in column.values if value]


def _samples(found: Index, extensions: frozenset[str]) -> Rows:
    return np.array([row for row, name in enumerate(found.names) if extension_of(name) in extensions], dtype=np.int64)


def _names(found: Sequence[Index], some: Sequence[Rows]) -> Strings:
    return Strings.joined([one.names.take(rows) for one, rows in zip(found, some, strict=True)])


def _said(found: Sequence[Index], some: Sequence[Rows], kind: str) -> Column | None:
    """What the archives say of their samples by one kind of note; None where none says anything."""
    if not any(kind in one.said for one in found):
        return None
    column = Column()
    for one, rows in zip(found, some, strict=True):
        if kind in one.said:
            values, numbers = one.said[kind].values, one.said[kind].numbers
            column.extend(values[number] for number in numbers[rows].tolist())
        else:
            column.extend([None] * len(rows))
    return column if column.says_anything else None


def _few(texts: Column | None) -> Column | None:
    """The texts, where they can be classes: captions are nearly all different."""
    return texts if texts is not None and 2 * len(texts.values) <= len(texts) else None


def _ignored(found: Sequence[Index], some: Sequence[Rows]) -> Counter[str]:
    """Members that are neither samples nor notes, by extension."""
    ignored: Counter[str] = Counter()
    for one, rows in zip(found, some, strict=True):
        left = np.ones(len(one.names), dtype=bool)
        left[rows] = False
        extensions = Counter(extension_of(name) or "(no extension)" for name in one.names.take(np.flatnonzero(left)))
        ignored.update({k: n for k, n in extensions.items() if k not in (".cls", ".txt", ".json")})
    return ignored
