"""What a glance at DATA shows: kinds of files, names of columns, shapes of arrays. No sample is read, and no torch."""

import csv
import itertools
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nearfar.data import npy
from nearfar.data.folder import extension_of, is_passed_over
from nearfar.data.patterns import files_of, is_pattern, parse_data
from nearfar.errors import DataError

_MOST = 1_000  # files of a folder that are looked at


@dataclass(frozen=True)
class Found:
    """What there is at `path`: the number of files by extension, of a file with rows the names of its `columns` in
    lower case, of a file of arrays their `shapes`."""

    path: str
    files: Mapping[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def glance(data: str) -> Found:
    """What there is at DATA; nothing where it is not there, or cannot be read."""
    path, _ = parse_data(data)
    if os.path.isdir(path):
        return Found(path, Counter(itertools.islice(_extensions(path), _MOST)))
    try:
        files = files_of(path) if os.path.exists(path) or is_pattern(path) else []
    except DataError:
        files = []
    if not files:
        return Found(path)
    kinds = Counter(file.suffix.lower() for file in files)
    try:
        if files[0].suffix.lower() in (".npy", ".npz"):
            return Found(path, kinds, shapes=npy.shapes(files[0]))
        return Found(path, kinds, tuple(name.strip().lower() for name in _names(files[0])))
    except (DataError, OSError, ValueError):
        return Found(path, kinds)


def _extensions(folder: str) -> "itertools.chain[str]":
    names = (names for _, _, names in os.walk(folder))
    return itertools.chain.from_iterable(
        (extension_of(name) for name in some if not is_passed_over(name)) for some in names
    )


def _names(file: Path) -> list[str]:
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        return list(pq.read_schema(file).names)
    if suffix not in (".csv", ".tsv", ".jsonl"):
        return []
    with file.open("rb") as raw:
        encoding = "utf-16" if raw.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with file.open(encoding=encoding, errors="replace", newline="") as text:
        first = next((line for line in text if line.strip()), "")
        if suffix == ".jsonl":
            row = json.loads(first or "{}")
            return list(row) if isinstance(row, dict) else []
        separator = "\t" if suffix == ".tsv" else max(",;\t|", key=first.count)
        return next(csv.reader(itertools.chain([first], text), delimiter=separator), [])
