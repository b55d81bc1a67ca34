"""What the columns of a table are, and how cells become numbers.

A column whose filled cells read mostly as numbers is one, and so is one of numbers with one text for missing ones; its
other cells count as missing. Any other column is a
category: its (at most 32) most frequent values, each met at least twice, are known, all others are one and the same to
the encoder. A text column in which no value comes twice (names, identifiers) is no input.

In a table `[N, C]` float32 a cell is its number less the column's `origin`, or the place of its value among the known
ones (beyond them for the others); NaN is missing. `Inputs` turns such cells into what a network reads, `[N, D]`:
numbers standardised with the training rows' statistics, missing ones at the median; categories one-hot, all zeros where
missing or unknown.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nearfar.data.values import encode, is_boolean, is_numeric, spelling
from nearfar.data.values import filled as filled_in
from nearfar.data.values import numbers as numbers_of
from nearfar.errors import DataError, must
from nearfar.options import is_number

if TYPE_CHECKING:
    import pyarrow as pa

    from nearfar.data.samples import Samples

_KNOWN = 32
_MEASURED = 10  # so many different numbers are no codes
_LARGE = 1000  # float32 keeps four digits of a spread so many times smaller than the numbers
_NO_INPUTS = ("id", "index")
_LEAST_SPREAD = float(np.finfo(np.float32).tiny)  # one over less than this is no number any more

log = logging.getLogger("nearfar")


@dataclass(frozen=True)
class Column:
    """One column: a category with its known `values`, or a number with its statistics over the training rows.

    `scale` is one over the standard deviation, and 0 for a column that never changes, or by less than can be told.
    Numbers that are large beside their spread are kept less an `origin`, and so are their statistics, for float32 could
    not tell them apart.
    """

    name: str
    values: tuple[str, ...] | None = None
    median: float = 0.0
    mean: float = 0.0
    scale: float = 0.0
    origin: float = 0.0


_FIELDS = dict.fromkeys(field.name for field in fields(Column))


def to_config(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Columns as plain values."""
    return [{k: list(v) if k == "values" and v is not None else v for k, v in asdict(c).items()} for c in columns]


def from_config(config: Any) -> tuple[Column, ...]:
    """The columns that `to_config` wrote; raises ConfigError for anything else."""
    must(isinstance(config, list) and len(config) > 0, "columns must be a list of columns", got=config)
    return tuple(map(_column, config))


def _column(said: Any) -> Column:
    must(isinstance(said, dict), f"a column must have {', '.join(_FIELDS)}", got=said)
    said = {"origin": 0.0} | said  # older runs have none
    must(said.keys() == _FIELDS.keys(), f"a column must have {', '.join(_FIELDS)}", got=said)
    name, values, *figures = (said[field] for field in _FIELDS)
    are_texts = isinstance(name, str) and (
        values is None or (isinstance(values, list) and all(isinstance(value, str) for value in values))
    )
    must(are_texts and all(map(is_number, figures)), "a column must have texts and finite numbers", got=said)
    return Column(name, None if values is None else tuple(values), *figures)


def same_layout(one: Sequence[Column], other: Sequence[Column]) -> bool:
    """Whether cells mean the same under both, statistics apart."""
    return one is other or [(c.name, c.values, c.origin) for c in one] == [(c.name, c.values, c.origin) for c in other]


def recognise(samples: Samples) -> list[Column]:
    """The input columns among the further ones, without statistics; raises DataError where fewer than two are left."""
    table = _table(samples)
    found = []
    for name in table.column_names:
        cells = table[name]
        if name.strip().lower() in _NO_INPUTS and (name.strip().lower() == "id" or _all_differ(cells)):
            continue
        numbers = numbers_of(cells)
        if numbers is None:
            log.warning("%s: column %r holds %s, no numbers or texts, and is left out.", samples.name, name, cells.type)
            continue
        filled = int((~np.isnan(numbers)).sum()) if is_numeric(cells.type) else filled_in(cells)
        if filled == 0:
            log.warning("%s: column %r is empty and left out.", samples.name, name)
            continue
        count = 0 if is_boolean(cells.type) else int(np.count_nonzero(~np.isnan(numbers)))
        if 2 * count > filled or (count and _is_marked(cells)):
            if count < filled:
                log.warning("%s: column %r: %d cells are no numbers: missing.", samples.name, name, filled - count)
            found.append(Column(name, origin=_origin(numbers)))
            continue
        if known := _frequent(cells):
            found.append(Column(name, known))
        else:
            log.warning("%s: column %r has a text of its own in every row and is left out.", samples.name, name)
    if len(found) < 2:
        raise DataError(
            f"{samples.name}: views of rows need at least two columns of numbers or categories, found "
            f"{[c.name for c in found]} among {table.column_names[:20]}."
        )
    return found


def lay_out(samples: Samples, columns: Sequence[Column]) -> NDArray[np.float32]:
    """The cells as `[N, C]` under these columns, whatever their order in the table; raises DataError for a lacking one.

    Numbers too large for float32 become infinite.
    """
    table = _table(samples)
    names = set(table.column_names)
    lacking = [column.name for column in columns if column.name not in names]
    if lacking:
        named = ", ".join(repr(name) for name in lacking[:5]) + (", ..." if len(lacking) > 5 else "")
        raise DataError(
            f"{samples.name}: the column{'s' if len(lacking) > 1 else ''} {named} that the encoder was trained on "
            f"{'are' if len(lacking) > 1 else 'is'} not in the file, which has {table.column_names[:20]}."
        )
    cells = np.empty((len(samples), len(columns)), dtype=np.float32)
    for i, column in enumerate(columns):
        with np.errstate(over="ignore", invalid="ignore"):  # of numbers too large, and of NaN that signal
            if column.values is not None:
                cells[:, i] = _codes(table[column.name], column.values)
            elif (numbers := numbers_of(table[column.name])) is not None:
                cells[:, i] = numbers - column.origin if column.origin else numbers
            else:
                raise DataError(f"{samples.name}: column {column.name!r} holds {table[column.name].type}, no numbers.")
    cells += 0.0  # no negative zeros: equal rows are equal to the byte
    return cells


def measure(columns: Sequence[Column], table: NDArray[np.float32]) -> tuple[Column, ...]:
    """The same columns with the statistics of these rows, missing cells left aside."""
    measured = []
    for i, column in enumerate(columns):
        cells = table[:, i]
        cells = cells[~np.isnan(cells)].astype(np.float64)
        if column.values is not None or len(cells) == 0:
            measured.append(column)
            continue
        changes = cells.min() < cells.max()
        spread = float(cells.std()) if changes else 0.0
        measured.append(
            replace(
                column,
                median=float(np.median(cells)),
                mean=float(cells.mean()),
                scale=1 / spread if spread > _LEAST_SPREAD else 0.0,
            )
        )
    return tuple(measured)


class Inputs(nn.Module):
    """Cells `[b, C]` to what a network reads, `[b, D]`; holds the columns' statistics and no weights."""

    median: Tensor
    mean: Tensor
    scale: Tensor
    column: Tensor
    code: Tensor

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        codes = [[-1] if c.values is None else range(len(c.values)) for c in columns]
        places = [(i, code) for i, of_column in enumerate(codes) for code in of_column]
        self.width = len(places)
        as_floats = {
            "median": [float("nan") if c.values is not None else c.median for c in columns],
            "mean": [columns[i].mean for i, _ in places],
            "scale": [columns[i].scale for i, _ in places],
            "code": [float(code) for _, code in places],
        }
        for name, values in as_floats.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)
        self.register_buffer("column", torch.tensor([i for i, _ in places]), persistent=False)

    def forward(self, cells: Tensor) -> Tensor:
        """Standardised numbers and one-hot categories; nothing in them is missing."""
        filled = torch.where(cells.isnan(), self.median, cells)[:, self.column]  # [b D]
        return torch.where(self.code >= 0, (filled == self.code).float(), (filled - self.mean) * self.scale)

    def cells(self, inputs: Tensor) -> Tensor:
        """The way back, `[b, D]` to cells `[b, C]`: a number where it was missing is its median, a value is NaN."""
        numbers = torch.where(self.scale > 0, inputs / self.scale, 0) + self.mean
        found = torch.full((len(inputs), len(self.median)), float("nan"), device=inputs.device)
        for place, (column, code) in enumerate(zip(self.column.tolist(), self.code.tolist(), strict=True)):
            if code < 0:
                found[:, column] = numbers[:, place]
            else:
                found[:, column] = torch.where(inputs[:, place] > 0.5, code, found[:, column])
        return found


def _table(samples: Samples) -> pa.Table:
    if samples.table is None:
        raise DataError(f"{samples.name}: it has no columns: give a table.")
    return samples.table


def _origin(numbers: NDArray[np.float64]) -> float:
    """The middle of numbers that are large beside their spread; 0 for all others, which float32 holds well enough."""
    finite = numbers[np.isfinite(numbers)]
    with np.errstate(over="ignore"):  # of numbers beyond 1e154, whose spread is then infinite
        spread = float(finite.std()) if len(finite) else 0.0
    middle = float(np.median(finite)) if len(finite) else 0.0
    return middle if 0 < spread < abs(middle) / _LARGE else 0.0


def _all_differ(cells: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    return encode(cells) is not None and pc.count_distinct(cells).as_py() == len(cells)


def _is_marked(cells: pa.ChunkedArray) -> bool:
    """Whether one text, the only one, stands for what is missing among measured numbers."""
    encoded = encode(cells)
    found = None if encoded is None or is_boolean(cells.type) else numbers_of(encoded.dictionary)
    return found is not None and int(np.isnan(found).sum()) == 1 and len(found) > _MEASURED


def _frequent(cells: pa.ChunkedArray) -> tuple[str, ...]:
    import pyarrow.compute as pc

    encoded = encode(cells)
    assert encoded is not None  # nested columns are no inputs
    counted = pc.value_counts(pc.drop_null(encoded.dictionary_decode())).to_pylist()
    often = sorted((-c["counts"], c["values"]) for c in counted if c["counts"] > 1)
    return tuple(sorted(value for _, value in often[:_KNOWN]))


def _codes(cells: pa.ChunkedArray, known: Sequence[str]) -> NDArray[np.float64]:
    """Places among the known values, beyond them for others, NaN where missing: `[N]`."""
    encoded = encode(cells)
    if encoded is None:
        return np.full(len(cells), np.nan)
    place = {spelling(value): i for i, value in enumerate(known)}
    found = [place.get(value, len(known) + j) for j, value in enumerate(encoded.dictionary.to_pylist())]
    places = np.array([*found, np.nan], dtype=np.float64)
    return places[np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)]
