"""Rows of a manifest: which column holds the samples, and which one says what about them."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nearfar.errors import DataError
from nearfar.modalities.contents import Cells, Contents, Files
from nearfar.modalities.keys import printable

ROLES: dict[str, tuple[str, ...]] = {
    "label": ("label", "class", "category", "target"),
    "group": ("group",),
    "domain": ("domain",),
    "split": ("split",),
}
"""What a column may say about a sample, and the names that say so; the first one present is taken."""

PAIRS = ("positive", "negative")
"""Columns of further samples: what belongs with the sample of the row, and what does not."""


@dataclass(kw_only=True)
class Sheet:
    """N rows: their keys and contents, and the cells of the roles that have a column."""

    keys: list[str]
    contents: Contents
    cells: dict[str, Sequence[Any]] = field(default_factory=dict)
    class_names: Sequence[str] | None = None
    pairs: dict[str, Contents] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)


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


def of_cells(cells: Sequence[str | None], folders: Sequence[Path], inline: bool) -> Contents:
    """Cells as samples themselves (`inline`), or as paths relative to the folder of their manifest."""
    if inline:
        return Cells(cells)
    return Files([located(cell, folder) if cell else None for cell, folder in zip(cells, folders, strict=True)])


def located(cell: str, folder: Path) -> str:
    """The path that a cell of a manifest in `folder` means."""
    path = os.path.join(folder, os.path.expanduser(cell) if cell.startswith("~") else cell)
    if "\\" in cell and os.sep == "/" and "\0" not in cell and not os.path.exists(path):
        return os.path.join(folder, cell.replace("\\", "/"))
    return cell if "://" in cell and not os.path.exists(path) else path


def key_of(cell: str, folder: Path) -> str:
    """The key of a sample that is a file: its path as written, relative to the manifest where it lies beside it."""
    if os.path.isabs(cell):
        base = os.path.join(os.path.abspath(folder), "")
        cell = cell.removeprefix(base)
    return printable(cell.replace(os.sep, "/").removeprefix("./"))
