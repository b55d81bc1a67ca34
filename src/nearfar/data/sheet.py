"""Rows of samples, from whatever file: which column holds the samples, and which one says what about them."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearfar.data import labels as coding
from nearfar.data.contents import Cells, Contents, Files
from nearfar.data.keys import printable
from nearfar.data.labels import Column
from nearfar.data.samples import Samples
from nearfar.data.strings import Strings
from nearfar.errors import DataError

ROLES: dict[str, tuple[str, ...]] = {
    "label": ("label", "class", "category", "target"),
    "group": ("group",),
    "domain": ("domain",),
    "split": ("split",),
}
"""What a column may say about a sample, and the names that say so; the first one present is taken."""

PAIRS = ("positive", "negative")
"""Columns of further samples: what belongs with the sample of the row, and what does not."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is a sample: a file with one of `extensions`, or what stands in the first of `columns` that there is.

    With `inline` a cell is the sample itself, else its path.
    """

    extensions: frozenset[str]
    columns: Sequence[str]
    inline: bool = False


@dataclass(kw_only=True)
class Sheet:
    """N rows: their keys and contents, and the cells of the roles that have a column."""

    keys: Strings
    contents: Contents
    cells: dict[str, Column] = field(default_factory=dict)
    class_names: Sequence[str] | None = None
    pairs: dict[str, Contents] = field(default_factory=dict)
    shards: NDArray[np.int64] | None = None
    size: int = 0
    ignored: Mapping[str, int] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def listing(self, name: str) -> Samples:
        """The rows as samples, their labels and groups as numbers."""
        none = Column()
        numbers, names = coding.encode(self.cells.get("label", none), self.class_names)
        domains, domain_names = coding.encode(self.cells.get("domain", none))
        return Samples(
            name=name,
            keys=self.keys,
            contents=self.contents,
            rows=np.arange(len(self.keys)),
            labels=numbers,
            label_names=names,
            groups=coding.groups(self.cells.get("group", none)),
            domains=domains,
            domain_names=domain_names,
            positives=self.pairs.get("positive"),
            negatives=self.pairs.get("negative"),
            shards=self.shards,
            size=self.size,
            ignored=self.ignored,
            refused=tuple(self.refused),
        )


def find_column(names: Sequence[str], wanted: Iterable[str]) -> str | None:
    """The column that has the first of the wanted names that there is, in any case."""
    by_name = {name.strip().lower(): name for name in reversed(names)}
    return next((by_name[name] for name in wanted if name in by_name), None)


def content_column(file: Path, names: Sequence[str], wanted: Sequence[str]) -> str:
    """The column of the samples. Raises DataError with the names there are and those looked for."""
    column = find_column(names, wanted)
    if column is None:
        shown = ", ".join(repr(printable(name)) for name in names[:12]) or "none"
        raise DataError(
            f"{printable(str(file))!r} has no column of samples: its columns are {shown}; name one of them "
            f"{' or '.join(wanted[:3])}."
        )
    return column


def of_cells(cells: Strings, folder: Path, inline: bool) -> Contents:
    """Cells as samples themselves (`inline`), or as paths relative to the folder of their manifest."""
    return Cells(cells) if inline else Files(cells, os.fspath(folder))


def key_of(cell: str, folder: str) -> str:
    """The key of a sample that is a file: its path as written, relative to the manifest where it lies beside it.

    `folder` is the manifest's, absolute and with a separator at its end.
    """
    if os.path.isabs(cell):
        cell = cell.removeprefix(folder)
    return printable(cell.replace(os.sep, "/").removeprefix("./"))


def folder_of(file: Path) -> str:
    """The folder of a manifest as `key_of` takes it."""
    return os.path.join(os.path.abspath(file.parent), "")
