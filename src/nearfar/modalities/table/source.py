"""The rows of a table: which columns are inputs, and their cells as numbers in memory.

Columns with a meaning of their own are no inputs: those of labels, splits, groups and domains, `id`, and a numbering of
the rows as pandas writes it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nearfar.contract import Card, Skipped, Source
from nearfar.data.samples import Samples
from nearfar.errors import DataError
from nearfar.modalities.table.columns import Column, from_config, measure, same_layout
from nearfar.modalities.table.dead import dead_columns
from nearfar.modalities.table.encoding import Inputs, plain
from nearfar.modalities.table.recognition import lay_out, recognise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nearfar.contract import Rows

_ON_A_CARD = 12

log = logging.getLogger("nearfar")


@dataclass(frozen=True)
class Cells:
    """A raw batch: `rows` [b, C], their places `at` [b] in the whole `table` [N, C], and what the columns are."""

    rows: Tensor
    at: Rows
    table: Tensor
    columns: tuple[Column, ...]

    def __len__(self) -> int:
        return len(self.rows)


class TableSource(Source):
    """N rows of C columns in memory; rows without a filled cell or with an infinite one are left out and listed.

    Without `dates` dates and sentences are categories. Raises DataError where more than half of the rows are lost, or
    none is left.
    """

    def __init__(self, samples: Samples, *, dates: bool = True) -> None:
        layout = tuple(recognise(samples, with_dates=dates))
        cells = lay_out(samples, layout)
        usable, refused = _usable(samples, layout, cells)
        lost = len(samples.refused) + len(refused)
        if lost > len(usable) or not len(usable):
            key, reason = [*samples.refused, *refused][0] if lost else ("", "")
            why = f" (the first of {lost} unusable ones: {key}: {reason})" if lost else ""
            raise DataError(f"{samples.name}: {len(usable)} of {len(usable) + lost} rows can be used{why}.")
        if len(usable) < len(samples):
            samples = replace(samples.take(usable), refused=(*samples.refused, *refused))
        super().__init__(samples)
        self._trained: tuple[Column, ...] | None = None
        self._set_cells(layout, cells[usable])
        if self.missing:
            log.info("%s: %d cells are missing; the encoder sees the column's median.", self.name, self.missing)

    def _set_cells(self, layout: Sequence[Column], cells: NDArray[np.float32]) -> None:
        self._layout = tuple(layout)
        self._cells = np.ascontiguousarray(cells)
        whole = self._cells.view(np.dtype((np.void, cells.shape[1] * cells.itemsize)))[:, 0]
        self.reading.ids = np.unique(whole, return_inverse=True)[1].astype(np.int64).reshape(-1)  # equal cells

    @property
    def missing(self) -> int:
        """Cells that hold nothing, or nothing that fits their column."""
        return int(np.isnan(self._table).sum())

    @cached_property
    def _table(self) -> NDArray[np.float32]:
        """The cells of these rows [N, C]."""
        whole = len(self.at) == len(self._cells) and bool((self.at == np.arange(len(self.at))).all())
        return self._cells if whole else self._cells[self.at]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The input columns, with the statistics of these rows, or of the training rows once suited to an encoder."""
        return self._trained or self._measured

    @cached_property
    def _measured(self) -> tuple[Column, ...]:
        return measure(self._layout, self._table)

    def measured(self, pieces: int, *, gaps: bool = False) -> tuple[Column, ...]:
        """The input columns with the statistics of these rows, numbers cut into at most `pieces`.

        With `gaps` an encoder is to see which numbers are missing, even where none is in these rows.
        """
        found = measure(self._layout, self._table, pieces)
        return tuple(replace(c, gaps=c.values is None) for c in found) if gaps else found

    @property
    def label_column(self) -> str | None:
        """The column the labels come from."""
        return self.whole.label_column

    def suited(self, config: Mapping[str, Any]) -> TableSource:
        """The columns laid out as the encoder of this `config` knows them, whatever their order in the file.

        Raises DataError naming a column that the file lacks.
        """
        some = copy(self)
        columns = from_config(config["columns"])
        if not same_layout(columns, self._layout):
            cells = lay_out(self.whole, columns)
            infinite = np.isinf(cells[self.at]).any(axis=1)
            if infinite.any():  # columns that were not read before may bring new ones
                row = int(np.flatnonzero(infinite)[0])
                raise DataError(f"{self.keys[row]}: an infinite number in a column that the encoder needs.")
            some.reading = self.reading.with_new_ids()
            some.__dict__.pop("_table", None)
            some._set_cells(columns, cells)
        some.__dict__.pop("_measured", None)
        some._trained = columns
        return some

    def fetch(self, rows: Rows) -> tuple[Cells, Rows]:
        """These rows, and the same row numbers: nothing is left out here."""
        table = torch.from_numpy(self._table)
        at = np.asarray(rows, dtype=np.int64)
        return Cells(table[torch.from_numpy(at)], at, table, self.columns), at

    def defects(self, rows: Rows) -> list[Skipped]:
        """Columns that tell nothing: of one value, nearly empty, or the same as one before."""
        return [Skipped(f"column {name!r}", why) for name, why in dead_columns(self.columns, self._table[rows])]

    def vectors(self) -> Tensor:
        """Standardised numbers, dates among them, and one-hot categories, `[N, D]`."""
        found: Tensor = Inputs(plain(self.columns))(torch.from_numpy(self._table))
        return found

    def cards(self, rows: Rows) -> list[Card]:
        """The first twelve cells of each row, a line each, as `column: value`."""
        cards = super().cards(rows)
        return [
            replace(card, text=as_text(self._layout, self._table[row])) for card, row in zip(cards, rows, strict=True)
        ]


def as_text(columns: Sequence[Column], row: NDArray[np.float32]) -> str:
    """The first twelve cells of a row `[C]`, a line each, as `column: value`."""
    cells = zip(columns[:_ON_A_CARD], row, strict=False)
    return "\n".join(f"{column.name}: {shown(column, float(cell))}" for column, cell in cells)


def _usable(
    samples: Samples, layout: Sequence[Column], cells: NDArray[np.float32]
) -> tuple[Rows, list[tuple[str, str]]]:
    """The rows that can be used, and the keys of the others with the reason."""
    infinite = np.isinf(cells)
    usable = ~np.isnan(cells).all(axis=1) & ~infinite.any(axis=1)
    refused = []
    for row in np.flatnonzero(~usable).tolist():
        at = np.flatnonzero(infinite[row])
        reason = f"column {layout[int(at[0])].name!r} is infinite" if len(at) else "no cell is filled"
        refused.append((samples.keys[row], reason))
    return np.flatnonzero(usable), refused


def shown(column: Column, cell: float) -> str:
    """A cell as people write it."""
    if cell != cell:
        return "missing"
    if column.values is not None:
        return column.values[int(cell)] if cell < len(column.values) else "another value"
    if column.dates:
        return str(np.datetime64(round((column.origin + cell) * 86_400), "s")).replace("T00:00:00", "")
    if column.origin:
        return f"{column.origin + cell:.12g}"
    return f"{cell:.0f}" if cell == round(cell) and abs(cell) < 1e15 else f"{cell:.6g}"
