"""What the columns of a table are, and how cells become numbers.

A column whose filled cells read mostly as numbers is one; its few other cells count as missing. Any other column is a
category: its (at most 32) most frequent values, each met at least twice, are known, all others are one and the same to
the encoder. A text column in which no value comes twice (names, identifiers) is no input.

In a table `[N, C]` float32 a cell is its number, or the place of its value among the known ones (beyond them for the
others); NaN is missing. `Inputs` turns such cells into what a network reads, `[N, D]`: numbers standardised with the
training rows' statistics, missing ones at the median; categories one-hot, all zeros where missing or unknown.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nearfar.errors import DataError, must
from nearfar.modalities.table.reading import NUMBER, RawTable
from nearfar.options import is_number

_KNOWN = 32
_LEAST_SPREAD = float(np.finfo(np.float32).tiny)  # one over less than this is no number any more

log = logging.getLogger("nearfar")


@dataclass(frozen=True)
class Column:
    """One column: a category with its known `values`, or a number with its statistics over the training rows.

    `scale` is one over the standard deviation, and 0 for a column that never changes, or by less than can be told.
    """

    name: str
    values: tuple[str, ...] | None = None
    median: float = 0.0
    mean: float = 0.0
    scale: float = 0.0


_FIELDS = dict.fromkeys(field.name for field in fields(Column))


def to_config(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Columns as plain values."""
    return [{k: list(v) if k == "values" and v is not None else v for k, v in asdict(c).items()} for c in columns]


def from_config(config: Any) -> tuple[Column, ...]:
    """The columns that `to_config` wrote; raises ConfigError for anything else."""
    must(isinstance(config, list) and len(config) > 0, "columns must be a list of columns", got=config)
    return tuple(map(_column, config))


def _column(said: Any) -> Column:
    must(isinstance(said, dict) and said.keys() == _FIELDS.keys(), f"a column must have {', '.join(_FIELDS)}", got=said)
    name, values, *figures = (said[field] for field in _FIELDS)
    are_texts = isinstance(name, str) and (
        values is None or (isinstance(values, list) and all(isinstance(value, str) for value in values))
    )
    must(are_texts and all(map(is_number, figures)), "a column must have texts and finite numbers", got=said)
    return Column(name, None if values is None else tuple(values), *figures)


def same_layout(one: Sequence[Column], other: Sequence[Column]) -> bool:
    """Whether cells mean the same under both, statistics apart."""
    return one is other or [(c.name, c.values) for c in one] == [(c.name, c.values) for c in other]


def recognise(raw: RawTable, leave_out: Collection[str]) -> list[Column]:
    """The input columns of a file, without statistics; raises DataError where fewer than two are left."""
    found = []
    for name, cells in raw.columns.items():
        if name in leave_out:
            continue
        if isinstance(cells, np.ndarray):
            found.append(Column(name))
            continue
        filled = len(cells) - cells.null_count
        if filled == 0:
            log.warning("%s: column %r is empty and left out.", raw.file, name)
            continue
        numbers = int(np.count_nonzero(~np.isnan(_numbers(cells, raw.decimal))))
        if 2 * numbers > filled:
            if numbers < filled:
                log.warning("%s: column %r: %d cells are no numbers: missing.", raw.file, name, filled - numbers)
            found.append(Column(name))
            continue
        values = _frequent(cells)
        if values:
            found.append(Column(name, values))
        else:
            log.warning("%s: column %r has a text of its own in every row and is left out.", raw.file, name)
    if len(found) < 2:
        raise DataError(
            f"{raw.file}: views of rows need at least two columns of numbers or categories, found "
            f"{[c.name for c in found]} among {list(raw.columns)[:20]}."
        )
    return found


def lay_out(raw: RawTable, columns: Sequence[Column]) -> NDArray[np.float32]:
    """The file's cells as `[N, C]` under these columns, whatever their order in it; raises DataError for a lacking one.

    Numbers too large for float32 become infinite.
    """
    lacking = [c.name for c in columns if c.name not in raw.columns]
    if lacking:
        named = ", ".join(repr(name) for name in lacking[:5]) + (", ..." if len(lacking) > 5 else "")
        raise DataError(
            f"{raw.file}: the column{'s' if len(lacking) > 1 else ''} {named} that the encoder was trained on "
            f"{'are' if len(lacking) > 1 else 'is'} not in the file, which has {list(raw.columns)[:20]}."
        )
    table = np.empty((len(raw.ordinals), len(columns)), dtype=np.float32)
    for i, column in enumerate(columns):
        cells = raw.columns[column.name]
        with np.errstate(over="ignore", invalid="ignore"):  # of numbers too large, and of NaN that signal
            if column.values is not None:
                table[:, i] = _codes(_as_text(cells), column.values)
            elif isinstance(cells, np.ndarray):
                table[:, i] = cells
            else:
                table[:, i] = _numbers(cells, raw.decimal)
    table += 0.0  # no negative zeros: equal rows are equal to the byte
    return table


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


def _as_text(cells: Any) -> Any:
    if not isinstance(cells, np.ndarray):
        return cells
    import pyarrow as pa

    return pa.array([f"{x:g}" for x in cells])


def _numbers(cells: Any, decimal: str) -> NDArray[np.float64]:
    """Text to numbers `[N]`, NaN where a cell is missing or none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if decimal != ".":
        cells = pc.replace_substring(cells, decimal, ".")
    try:
        parsed = pc.cast(cells, pa.float64())
    except pa.ArrowInvalid:  # ten times slower, and only where some cell is no number, or has a plus
        only = pc.if_else(pc.match_substring_regex(cells, NUMBER), cells, None)
        parsed = pc.cast(pc.utf8_ltrim(only, "+"), pa.float64())
    numbers: NDArray[np.float64] = parsed.to_numpy(zero_copy_only=False).astype(np.float64)
    return numbers


def _frequent(cells: Any) -> tuple[str, ...]:
    import pyarrow.compute as pc

    counted = pc.value_counts(pc.drop_null(cells)).to_pylist()
    often = sorted((-c["counts"], c["values"]) for c in counted if c["counts"] > 1)
    return tuple(sorted(value for _, value in often[:_KNOWN]))


def _codes(cells: Any, values: Sequence[str]) -> NDArray[np.float64]:
    """Places among the known values, beyond them for others, NaN where missing: `[N]`."""
    encoded = cells.dictionary_encode()
    known = {value: i for i, value in enumerate(values)}
    places = np.array(
        [known.get(value, len(values) + j) for j, value in enumerate(encoded.dictionary.to_pylist())], dtype=np.float64
    )
    at: NDArray[np.float64] = encoded.indices.to_numpy(zero_copy_only=False).astype(np.float64)
    found = np.full(len(at), np.nan)
    there = ~np.isnan(at)
    found[there] = places[at[there].astype(np.int64)]
    return found
