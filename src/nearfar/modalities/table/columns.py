"""What the columns of a table are: numbers, categories and dates, with their statistics over the training rows.

In a table `[N, C]` float32 a cell is its number less the column's `origin`, or the place of its value among the known
ones (beyond them for the others); NaN is missing. A date is its number of days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import must
from nearfar.options import is_number

_LEAST_SPREAD = float(np.finfo(np.float32).tiny)  # one over less than this is no number any more


@dataclass(frozen=True)
class Column:
    """One column: a category with its known `values`, or a number or a date with its statistics over the training rows.

    `scale` is one over the standard deviation, and 0 for a column that never changes, or by less than can be told.
    Numbers that are large beside their spread are kept less an `origin`, and so are their statistics, for float32 could
    not tell them apart. `edges` rise and cut the numbers into pieces; with `gaps` some were missing. A date says in
    `dates` how it is written (`dates.FORMS`), and in `periods` the lengths in days of what comes back: the day, the
    week, the year.
    """

    name: str
    values: tuple[str, ...] | None = None
    median: float = 0.0
    mean: float = 0.0
    scale: float = 0.0
    origin: float = 0.0
    edges: tuple[float, ...] = ()
    gaps: bool = False
    dates: str = ""
    periods: tuple[float, ...] = ()


_FIELDS = dict.fromkeys(field.name for field in fields(Column))
_LATER = {"origin": 0.0, "edges": [], "gaps": False, "dates": "", "periods": []}
"""What columns of older runs do not say."""


def to_config(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Columns as plain values."""
    return [{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(column).items()} for column in columns]


def from_config(config: Any) -> tuple[Column, ...]:
    """The columns that `to_config` wrote; raises ConfigError for anything else."""
    must(isinstance(config, list) and len(config) > 0, "columns must be a list of columns", got=config)
    return tuple(map(_column, config))


def _column(said: Any) -> Column:
    must(isinstance(said, dict), f"a column must have {', '.join(_FIELDS)}", got=said)
    said = _LATER | said
    must(said.keys() == _FIELDS.keys(), f"a column must have {', '.join(_FIELDS)}", got=said)
    name, values, dates = said["name"], said["values"], said["dates"]
    are_texts = isinstance(name, str) and isinstance(dates, str) and (values is None or _are(values, str))
    figures = [said[figure] for figure in ("median", "mean", "scale", "origin")]
    lists = [said[several] for several in ("edges", "periods")]
    are_numbers = all(isinstance(several, list) for several in lists) and all(
        map(is_number, [*figures, *lists[0], *lists[1]])
    )
    must(are_texts and are_numbers, "a column must have texts and finite numbers", got=said)
    must(isinstance(said["gaps"], bool), "gaps of a column must be true or false", got=said)
    must(all(period > 0 for period in lists[1]), "periods of a column must be above 0", got=said)
    must(bool((np.diff(lists[0]) > 0).all()), "edges of a column must rise", got=said)
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
    return Column(**given)


def _are(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def same_layout(one: Sequence[Column], other: Sequence[Column]) -> bool:
    """Whether cells mean the same under both, statistics apart."""
    return one is other or list(map(_layout, one)) == list(map(_layout, other))


def _layout(column: Column) -> tuple[Any, ...]:
    return column.name, column.values, column.origin, column.dates


def measure(columns: Sequence[Column], table: NDArray[np.float32], pieces: int = 0) -> tuple[Column, ...]:
    """The same columns with the statistics of these rows, missing cells left aside; numbers in at most `pieces`."""
    measured = []
    for i, column in enumerate(columns):
        cells = table[~np.isnan(table[:, i]), i].astype(np.float64)
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
                edges=_edges(cells, pieces) if pieces > 1 and spread > _LEAST_SPREAD else (),
                gaps=bool(pieces and len(cells) < len(table)),
            )
        )
    return tuple(measured)


def _edges(cells: NDArray[np.float64], pieces: int) -> tuple[float, ...]:
    """The ends of at most `pieces` pieces that hold equally many cells, from the least to the largest.

    A number that comes more often than a piece holds counts no more than that, so that the others are told apart, too.
    """
    values, counts = np.unique(cells, return_counts=True)
    if len(values) <= pieces + 1:
        return tuple(values.tolist())
    below = np.minimum(counts, max(1, len(cells) // pieces)).cumsum()
    places = np.searchsorted(below, np.linspace(0, below[-1], pieces + 1)[1:-1])
    return tuple(np.unique(values[[0, *places, len(values) - 1]]).tolist())
