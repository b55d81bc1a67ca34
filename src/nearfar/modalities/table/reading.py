"""Tables read from files: `.csv` and `.tsv` as text columns, `.parquet` as either, `.npy` and `.npz` as numbers.

What cannot be a row is left out and listed; what a cell means is decided in `columns.py`.
"""

from __future__ import annotations

import csv
import io
import itertools
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.contract import Skipped
from nearfar.data import npy
from nearfar.data.reader import parse_data
from nearfar.errors import DataError
from nearfar.modalities.table.options import SUFFIXES

if TYPE_CHECKING:
    import pyarrow as pa

MISSING = ("", "?", "na", "n/a", "nan", "null")
"""Cells that hold nothing, whatever their case."""

NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|inf|infinity|Inf|Infinity|INF)$"

log = logging.getLogger("nearfar")

_HEAD = 1 << 20
_BLOCK = 1 << 24


@dataclass(frozen=True)
class RawTable:
    """The rows of one file. A column is arrow text (null where missing) or an array of numbers, both `[N]`.

    `ordinals` [N] are the rows' numbers in the file, counted from 0 with the skipped ones and without the header.
    """

    file: str
    columns: Mapping[str, pa.Array | NDArray[Any]]
    ordinals: NDArray[np.int64]
    skipped: tuple[Skipped, ...] = ()
    decimal: str = "."

    def named(self, *names: str) -> str | None:
        """The column of one of these names, whatever its case; the first name that is there wins."""
        by_lower = {name.lower(): name for name in reversed(list(self.columns))}
        return next((by_lower[name] for name in names if name in by_lower), None)


def locate(data: str) -> tuple[Path, str | None]:
    """The file and the split that `FILE` or `FILE:split` means; a path that exists wins."""
    path, split = parse_data(data)
    return Path(path), split


def read(path: Path) -> RawTable:
    """All rows of a file; raises DataError where it is no table."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file.")
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _read_text(path)
    if suffix == ".parquet":
        return _read_parquet(path)
    if suffix in (".npy", ".npz"):
        return _read_arrays(path)
    raise DataError(f"{path}: a table is one of {', '.join(SUFFIXES)}.")


def splits_in(path: Path) -> list[str]:
    """The values of the column `split`, as they come."""
    raw = read(path)
    column = raw.named("split")
    if column is None:
        return []
    return list(dict.fromkeys(str(value) for value in raw.columns[column].tolist() if value is not None))


def _head(path: Path) -> tuple[str, list[str], str]:
    """The separator, the fields of the first line that is not empty, and the encoding."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    encodings = ("utf-16",) if head[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "latin-1")
    for encoding in encodings:
        try:
            # A character may be cut at the end of the head.
            text = head.decode(encoding, errors="strict" if len(head) < _HEAD else "ignore")
            break
        except UnicodeDecodeError:
            continue
    else:
        raise DataError(f"{path}: the file is not text.")
    lines = io.StringIO(text, newline="")  # a field in quotes may have several
    first = next((line for line in lines if line.strip("\r\n")), None)
    if first is None:
        raise DataError(f"{path}: the file is empty.")
    if "\0" in first:
        raise DataError(f"{path}: the file is not text.")
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=first.count)
    try:
        return separator, next(csv.reader(itertools.chain([first], lines), delimiter=separator)), encoding
    except csv.Error as error:
        raise DataError(f"{path}: its header is no row of a table: {error}.") from None


def _read_text(path: Path) -> RawTable:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    separator, fields, encoding = _head(path)
    names = [field.strip() for field in fields]
    headless = all(re.match(NUMBER, name) for name in names)
    if headless:
        names = [str(i) for i in range(len(names))]
    _check_names(path, names)
    bad: list[tuple[int, str]] = []
    first_row = 1 if headless else 2  # arrow counts rows from 1, the header among them

    def skip(row: Any) -> str:
        bad.append((row.number - first_row, f"{row.actual_columns} fields instead of {row.expected_columns}"))
        return "skip"

    def attempt(encoding: str, given: list[str]) -> pa.Table:
        bad.clear()
        table = arrow_csv.read_csv(
            path,
            arrow_csv.ReadOptions(  # only one thread knows the rows' numbers
                use_threads=False, block_size=_BLOCK, encoding=encoding, autogenerate_column_names=headless
            ),
            arrow_csv.ParseOptions(delimiter=separator, invalid_row_handler=skip, newlines_in_values=True),
            arrow_csv.ConvertOptions(column_types=dict.fromkeys(given, pa.string()), strings_can_be_null=False),
        )
        if table.column_names != given:
            raise DataError(f"{path}: the header cannot be told from the rows; it seems to be {fields[:20]}.")
        return table

    given = [f"f{i}" for i in range(len(fields))] if headless else fields
    try:
        try:
            table = attempt("utf8" if encoding == "utf-8-sig" else encoding, given)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
            table = attempt("latin-1", [name.encode().decode("latin-1") for name in given])
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise DataError(f"{path}: not readable as a table: {str(error)[:200]}") from None
    total = len(table) + len(bad)
    kept = np.ones(total, dtype=bool)
    kept[[number for number, _ in bad]] = False
    columns = {name: _filled(column.combine_chunks()) for name, column in zip(names, table.columns, strict=True)}
    return RawTable(
        path.name,
        columns,
        np.flatnonzero(kept),
        tuple(Skipped(f"{path.name}#{number}", reason) for number, reason in bad),
        decimal="," if separator == ";" else ".",
    )


def _check_names(path: Path, names: Sequence[str]) -> None:
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise DataError(f"{path}: the column {twice[0]!r} stands twice in the header. Rename one of them.")


def _filled(column: Any) -> Any:
    """Text without spaces around it, null where a cell holds nothing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.is_in(pc.utf8_lower(text), value_set=pa.array(MISSING)), None, text)


def _read_parquet(path: Path) -> RawTable:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    names = _parquet_names(path)
    _check_names(path, names)
    columns: dict[str, Any] = {}
    try:
        table = pq.ParquetFile(path).read()
        for name, column in zip(names, table.columns, strict=True):
            kind = column.type
            if pa.types.is_dictionary(kind):
                column, kind = pc.cast(column, kind.value_type), kind.value_type
            if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
                columns[name] = pc.cast(column, pa.float64(), safe=False).to_numpy()
            elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
                columns[name] = _filled(pc.cast(column, pa.string()).combine_chunks())
            else:
                log.warning(
                    "%s: column %r holds %s, neither numbers nor texts, and is left out.", path.name, name, kind
                )
    except (pa.ArrowException, OSError) as error:  # texts that are no UTF-8 among others
        raise DataError(f"{path}: not readable as parquet: {str(error)[:200]}") from None
    return RawTable(path.name, columns, np.arange(len(table)))


def _parquet_names(path: Path) -> list[str]:
    """The names of a parquet file's columns; raises DataError where it is none."""
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except Exception as error:  # names that are no UTF-8 among others
        raise DataError(f"{path}: not readable as parquet: {str(error)[:200]}") from None


def _read_arrays(path: Path) -> RawTable:
    by_lower = {name.lower(): name for name in npy.shapes(path)}
    if "x" not in by_lower and len(by_lower) != 1:
        raise DataError(
            f"{path}: holds the arrays {', '.join(map(repr, by_lower.values())) or 'none'}. "
            "A table has one array, or x (the rows) and y (their classes)."
        )
    rows = by_lower.get("x") or next(iter(by_lower.values()))
    classes = by_lower.get("y") if "x" in by_lower else None
    found = npy.arrays(path, [name for name in (rows, classes) if name])
    inputs, labels = found[rows], None if classes is None else found[classes]
    if inputs.ndim != 2 or inputs.dtype.kind not in "fiub":
        raise DataError(
            f"{path}: a table is an array [rows, columns] of numbers, got shape {list(inputs.shape)} of {inputs.dtype}."
        )
    columns: dict[str, Any] = {str(i): inputs[:, i] for i in range(inputs.shape[1])}
    if labels is not None:
        if labels.shape != (len(inputs),) or labels.dtype.kind not in "fiubSU":
            raise DataError(
                f"{path}: y must be one class a row, [{len(inputs)}], got shape {list(labels.shape)} of "
                f"{labels.dtype}; classes are numbers or texts."
            )
        columns["label"] = labels
    return RawTable(path.name, columns, np.arange(len(inputs)))
