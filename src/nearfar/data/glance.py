"""What a glance at DATA shows: kinds of files, names of columns, the kind of data. No sample is read, and no torch."""

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nearfar.data import kinds, npy
from nearfar.data.folder import extension_of, is_passed_over
from nearfar.data.kinds import Kind
from nearfar.data.location import files_of, is_pattern, parse_data
from nearfar.data.reader import open_tables
from nearfar.data.splits import files_of_splits
from nearfar.data.table_file import Request
from nearfar.errors import DataError

_MOST = 1_000  # files of a folder, and rows of a table, that are looked at
_TABLES = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Found:
    """What there is at `path`: files by extension, and the names of columns in lower case or the shapes of arrays.

    `kind` is what it seems to hold.
    """

    path: str
    files: Mapping[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    kind: Kind = kinds.UNKNOWN


def glance(data: str) -> Found:
    """What there is at DATA; nothing where it is not there, or cannot be read: opening it says why."""
    path, _ = parse_data(data)
    try:
        if os.path.isdir(path):
            files = _tables_in(path)
            found = Counter(itertools.islice(_extensions(path), _MOST))
            kind = kinds.of_files(found)
        else:
            files = files_of(path) if os.path.exists(path) or is_pattern(path) else []
            found = Counter(file.suffix.lower() for file in files)
            kind = kinds.of_files(found)
        return _of_file(path, found, files[0]) if files and kind == kinds.UNKNOWN else Found(path, found, kind=kind)
    except (DataError, OSError, ValueError):
        return Found(path)


def _of_file(path: str, found: Mapping[str, int], file: Path) -> Found:
    suffix = file.suffix.lower()
    if suffix in (".npy", ".npz"):
        shapes = npy.shapes(file)
        return Found(path, found, shapes=shapes, kind=kinds.of_shapes(shapes))
    if suffix in _TABLES:
        head = open_tables([file], Request(columns=kinds.IMAGES))[0].head(_MOST)
        return Found(path, found, tuple(name.strip().lower() for name in head), kind=kinds.of_columns(head))
    if suffix == ".tar":
        from nearfar.data.tar_index import index

        names = itertools.islice(index(file).names, _MOST)
        return Found(path, found, kind=kinds.of_files(Counter(map(extension_of, names))))
    if suffix in (".txt", ".lst"):
        from nearfar.data.path_list import PathList

        line = PathList(file, "path").first_without(frozenset(kinds.BY_EXTENSION) - {".txt", ".md"})
        return Found(path, found, kind=kinds.UNKNOWN if line is None else kinds.texts(f"the line {line[:40]!r}"))
    return Found(path, found)


def _tables_in(folder: str) -> list[Path]:
    """Tables that a folder holds, where their names say that they are the splits of one data set."""
    for here in (folder, os.path.join(folder, "data")):
        names = os.listdir(here) if os.path.isdir(here) else []
        files = [Path(here, name) for name in sorted(names) if name.lower().endswith(_TABLES)]
        for suffix in _TABLES:
            named = [file for file in files if file.suffix.lower() == suffix and not is_passed_over(file.name)]
            if named and (suffix == ".parquet" or files_of_splits([file.stem for file in named])):
                return named
    return []


def _extensions(folder: str) -> Iterator[str]:
    for _, _, names in os.walk(folder):
        yield from (extension_of(name) for name in names if not is_passed_over(name))
