"""Columns that tell nothing about a row."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nearfar.modalities.table.columns import Column

_EMPTY, _SAME = 0.95, 0.999


def dead_columns(columns: Sequence[Column], cells: NDArray[np.float32]) -> Iterator[tuple[str, str]]:
    """The name of each column of `cells` [N, C] that tells nothing, or what another one tells, and why."""
    before: dict[bytes, str] = {}
    for at, column in enumerate(columns):
        values = cells[:, at]
        known = values[~np.isnan(values)]
        different, counts = np.unique(known, return_counts=True)
        share = counts.max(initial=0) / max(len(known), 1)
        twin = before.setdefault(_pattern(column, values), column.name)
        if len(known) <= (1 - _EMPTY) * len(values):
            yield column.name, f"{len(values) - len(known)} of {len(values)} cells are empty"
        elif len(different) == 1:
            yield column.name, "all cells hold the same value"
        elif share >= _SAME:
            yield column.name, f"{100 * share:.2f} % of the cells hold the same value"
        elif twin != column.name:
            yield column.name, f"tells the same as the column {twin!r}"


def _pattern(column: Column, values: NDArray[np.float32]) -> bytes:
    """The same for two columns of which each says what the other is: by other names, or in another unit."""
    missing = np.isnan(values)
    if column.values is None:
        known = values.astype(np.float64)
        known = (known - np.nanmean(known)) / max(float(np.nanstd(known)), 1e-30) if not missing.all() else known
        first = known[~missing][:1]
        turned = known if not len(first) or first[0] >= 0 else -known
        return (np.round(np.where(missing, np.inf, turned), 4) + 0.0).tobytes()
    _, first_of, number = np.unique(np.where(missing, np.inf, values), return_index=True, return_inverse=True)
    rank = np.empty(len(first_of), dtype=np.int64)
    rank[np.argsort(first_of)] = np.arange(len(first_of))
    return rank[number].tobytes()
