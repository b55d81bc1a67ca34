"""Samples in the order in which one kind of error is likely, and how many of them are beyond the threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """N suspicions, the strongest first; the first `flagged` of them are beyond the threshold.

    `rows` [N] are the samples, `others` [N] the second ones where pairs are ranked, `suggested` [N] the class that fits
    better, by number. `threshold` says in a sentence from where on one is flagged, and how sure that is.
    """

    name: str
    title: str
    rows: Rows
    scores: Floats
    flagged: int
    threshold: str
    others: Rows | None = None
    suggested: Rows | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def samples(self) -> Rows:
        """The samples that are flagged: of pairs, the second ones, so that one of each copy stays."""
        chosen = self.rows if self.others is None else self.others
        return np.unique(chosen[: self.flagged])


@dataclass(frozen=True)
class Note:
    """A finding about a class or a column, not about a sample: what it is about, and what was found."""

    about: str
    found: str
    score: float
    rows: Sequence[int] = ()
    """Some samples that show it."""


def ranked(
    name: str,
    title: str,
    rows: Rows,
    scores: Floats,
    flagged: NDArray[np.bool_],
    threshold: str,
    *,
    others: Rows | None = None,
    suggested: Rows | None = None,
    most: int | None = None,
) -> Ranking:
    """The ranking of suspicions [N] in any order: flagged ones first, then by score; at most `most` not flagged."""
    order = np.lexsort((rows, -scores, ~flagged))
    count = int(flagged.sum())
    if most is not None:
        order = order[: count + most]
    return Ranking(
        name=name,
        title=title,
        rows=rows[order],
        scores=scores[order],
        flagged=count,
        threshold=threshold,
        others=None if others is None else others[order],
        suggested=None if suggested is None else suggested[order],
    )
