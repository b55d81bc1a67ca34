"""The rows of a table, opened from `.csv`, `.tsv`, `.parquet`, `.npy` or `.npz`.

Columns with a meaning of their own are no inputs: the label column, `split`, `group`, `domain`, `id`, and a column
without a name (the index that pandas writes).
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
from nearfar.data import labels as coding
from nearfar.data import splits
from nearfar.data.contents import Cells as Contained
from nearfar.data.samples import Samples
from nearfar.data.sheet import ROLES
from nearfar.data.strings import Strings
from nearfar.errors import DataError
from nearfar.modalities.table.columns import (
    Column,
    Inputs,
    from_config,
    lay_out,
    measure,
    recognise,
    same_layout,
)
from nearfar.modalities.table.reading import RawTable, locate, read

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nearfar.contract import Rows

_RESERVED = ("split", "group", "domain", "id", "")
_ON_A_CARD = 12
_CLASSES = 32
"""More different whole numbers than these, and than half of the rows, are a measured target."""

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

    def to(self, device: torch.device) -> Cells:
        """The rows on a device; the table stays where it is, as only few of its cells are ever looked up."""
        return replace(self, rows=self.rows.to(device))


class TableSource(Source):
    """N rows of C columns in memory. Raises DataError where the file holds no usable rows."""

    def __init__(self, data: str, *, label_column: str | None = None) -> None:
        self._path, split = locate(data)
        self._label_column = label_column
        self._named = self._path.name
        self._lost: list[Skipped] = []
        self._trained: tuple[Column, ...] | None = None
        raw = read(self._path)
        self._lost.extend(raw.skipped)
        self._label_name = self._find_label(raw, label_column)
        leave_out = {name for name in raw.columns if name.lower() in _RESERVED or name.startswith("Unnamed:")}
        leave_out |= {self._label_name} if self._label_name else set()
        layout = recognise(raw, leave_out)
        table = lay_out(raw, layout)
        rows = np.flatnonzero(self._usable(raw, layout, table, self._in_split(raw, split)))
        lost = len(self._lost)
        if lost > len(rows) or not len(rows):
            why = f" (the first of {lost} unusable ones: {self._lost[0].key}: {self._lost[0].reason})" if lost else ""
            raise DataError(f"{self._path}: {len(rows)} of {len(rows) + lost} rows can be used{why}.")
        self._set_rows(raw, layout, table, rows)

    def _set_rows(self, raw: RawTable, layout: Sequence[Column], table: NDArray[np.float32], rows: Rows) -> None:
        self._layout = tuple(layout)
        self._cells = table[rows]
        self._ordinals = raw.ordinals[rows]
        labels, label_names = self._classes(raw)
        group = raw.named("group")
        groups = None if group is None else coding.groups(coding.Column(_plain(raw.columns[group])))
        samples = Samples(
            name=self._named,
            keys=Strings.of(f"{raw.file}#{number}" for number in self._ordinals),
            contents=Contained([]),
            rows=np.arange(len(rows)),
            labels=None if labels is None or (labels[rows] < 0).all() else labels[rows],
            label_names=tuple(label_names),
            groups=None if groups is None else groups[rows],
            refused=tuple((one.key, one.reason) for one in self._lost),
        )
        super().__init__(samples)
        cells = np.ascontiguousarray(self._cells)
        whole = cells.view(np.dtype((np.void, cells.shape[1] * cells.itemsize)))[:, 0]
        self.reading.ids = np.unique(whole, return_inverse=True)[1].astype(np.int64).reshape(-1)  # equal cells
        missing = int(np.isnan(self._cells).sum())
        if missing:
            log.info("%s: %d cells are missing; the encoder sees the column's median.", self.name, missing)

    @property
    def missing(self) -> int:
        """Cells that hold nothing, or nothing that fits their column."""
        return int(np.isnan(self._table).sum())

    @property
    def _table(self) -> NDArray[np.float32]:
        """The cells of these rows [N, C]."""
        return self._cells if len(self.at) == len(self._cells) and (self.at == self._all).all() else self._taken

    @cached_property
    def _all(self) -> Rows:
        return np.arange(len(self._cells))

    @cached_property
    def _taken(self) -> NDArray[np.float32]:
        return self._cells[self.at]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The input columns, with the statistics of these rows, or of the training rows once loaded for an encoder."""
        return self._trained or self._measured

    @cached_property
    def _measured(self) -> tuple[Column, ...]:
        return measure(self._layout, self._table)

    @property
    def label_column(self) -> str | None:
        """The column the labels come from."""
        return self._label_name

    def suited(self, config: Mapping[str, Any]) -> TableSource:
        """The columns laid out as the encoder of this `config` knows them, whatever their order in the file.

        Raises DataError naming a column that the file lacks.
        """
        some = copy(self)
        columns = from_config(config["columns"])
        if not same_layout(columns, self._layout):
            raw = read(self._path)
            rows = np.searchsorted(raw.ordinals, self._ordinals[self.at])
            if self._label_column is None and config.get("labels_in") in raw.columns:
                some._label_name = config["labels_in"]
            for name in ("samples", "_all", "_taken"):
                some.__dict__.pop(name, None)
            some._set_rows(raw, columns, lay_out(raw, columns), rows)
            infinite = np.isinf(some._table).any(axis=1)
            if infinite.any():  # columns that were not read before may bring new ones
                row = int(np.flatnonzero(infinite)[0])
                raise DataError(f"{some.keys[row]}: an infinite number in a column that the encoder needs.")
        some.__dict__.pop("_measured", None)
        some._trained = columns
        return some

    def fetch(self, rows: Rows) -> tuple[Cells, Rows]:
        """These rows, and the same row numbers: nothing is left out here."""
        table = self._tensor
        at = np.asarray(rows, dtype=np.int64)
        return Cells(table[torch.from_numpy(at)], at, table, self.columns), at

    @property
    def _tensor(self) -> Tensor:
        return torch.from_numpy(self._table)

    def vectors(self) -> Tensor:
        """Standardised numbers and one-hot categories, `[N, D]`."""
        found: Tensor = Inputs(self.columns)(self._tensor)
        return found

    def cards(self, rows: Rows) -> list[Card]:
        """The first twelve cells of each row, a line each, as `column: value`."""
        cards = super().cards(rows)
        return [
            replace(card, text=as_text(self._layout, self._table[row])) for card, row in zip(cards, rows, strict=True)
        ]

    def _find_label(self, raw: RawTable, asked: str | None) -> str | None:
        if asked is None:
            return raw.named(*ROLES["label"])
        found = raw.named(asked)
        if found is None:
            raise DataError(
                f"{self._path}: there is no column {asked!r} for the labels, only {list(raw.columns)[:20]}."
            )
        return found

    def _in_split(self, raw: RawTable, asked: str | None) -> NDArray[np.bool_]:
        column = raw.named("split")
        values = np.array([] if column is None else _plain(raw.columns[column]), dtype=object)
        existing = list(dict.fromkeys(str(value) for value in values if value is not None))
        chosen = splits.pick(str(self._path), existing, asked)
        if chosen is None:
            return np.ones(len(raw.ordinals), dtype=bool)
        self._named = f"{self._path.name}:{chosen}"
        return np.array([value is not None and str(value) == chosen for value in values])

    def _usable(
        self, raw: RawTable, layout: Sequence[Column], table: NDArray[np.float32], wanted: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        infinite: NDArray[np.bool_] = np.asarray(np.isinf(table), dtype=bool)
        filled = ~np.isnan(table).all(axis=1)
        usable: NDArray[np.bool_] = np.asarray(filled & ~infinite.any(axis=1))
        for row in np.flatnonzero(wanted & ~usable).tolist():
            at = np.flatnonzero(infinite[row])
            reason = f"column {layout[int(at[0])].name!r} is infinite" if len(at) else "no cell is filled"
            self._lost.append(Skipped(f"{raw.file}#{raw.ordinals[row]}", reason))
        return wanted & usable

    def _classes(self, raw: RawTable) -> tuple[Rows | None, Sequence[str]]:
        """Class numbers of the whole file, so that all its splits count classes alike."""
        if self._label_name is None:
            return None, ()
        cells = _plain(raw.columns[self._label_name])
        if _measured_target(cells):
            log.warning("%s: column %r holds measurements, not classes: no labels.", raw.file, self._label_name)
            return None, ()
        return coding.encode(coding.Column(cells))


def as_text(columns: Sequence[Column], row: NDArray[np.float32]) -> str:
    """The first twelve cells of a row `[C]`, a line each, as `column: value`."""
    cells = zip(columns[:_ON_A_CARD], row, strict=False)
    return "\n".join(f"{column.name}: {_shown(column, float(cell))}" for column, cell in cells)


def _plain(cells: Any) -> list[Any]:
    """A column as plain values, None where missing."""
    if not isinstance(cells, np.ndarray):
        found: list[Any] = cells.to_pylist()
        return found
    return [None if value != value else value for value in cells.tolist()]


def _measured_target(cells: Sequence[Any]) -> bool:
    """Whether all labels are numbers, and fractions or too many different ones to be classes."""
    try:
        numbers = {float(cell) for cell in cells if cell is not None}
    except ValueError:
        return False
    too_many = len(numbers) > _CLASSES and 2 * len(numbers) > len(cells)
    return too_many or any(number != np.round(number) for number in numbers)


def _shown(column: Column, cell: float) -> str:
    if cell != cell:
        return "missing"
    if column.values is not None:
        return column.values[int(cell)] if cell < len(column.values) else "another value"
    return f"{cell:.0f}" if cell == round(cell) and abs(cell) < 1e15 else f"{cell:.6g}"
