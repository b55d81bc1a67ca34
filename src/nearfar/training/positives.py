"""Views of another sample: the odd views of a batch may show a positive that the user gives."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nearfar import randomness
from nearfar.contract import Rows, Source, Views


@dataclass(frozen=True)
class Paired:
    """A raw batch, the raw batch of the samples' positives, and what both show: `ids` [b] as `Batch` has them."""

    own: Any
    other: Any
    ids: Rows


class Positives(Protocol):
    """Finds the positive of each sample of a batch."""

    def beside(self, raw: Any, rows: Rows, draws: Rows) -> Paired:
        """The raw batch of `rows` together with that of their positives, sample i keyed by draws[i]."""


class OfGroup:
    """Another sample of the same group, drawn evenly by key; a sample alone in its group is its own positive."""

    def __init__(self, source: Source, seed: int) -> None:
        assert source.groups is not None
        self._source = source
        self._seed = seed
        _, groups = np.unique(source.groups, return_inverse=True)
        self._sorted = np.argsort(groups, kind="stable")  # rows, group after group
        self._counts = np.bincount(groups)
        self._starts = np.cumsum(self._counts) - self._counts
        self._groups = groups
        self._place = np.empty(len(groups), dtype=np.int64)  # of each row in its group
        self._place[self._sorted] = np.arange(len(groups)) - self._starts[groups[self._sorted]]

    def partners(self, rows: Rows, draws: Rows) -> Rows:
        """The rows of the positives of `rows`."""
        groups = self._groups[rows]
        count = self._counts[groups]
        numbers = randomness.uniform(self._seed, "positives", draws, 1)[:, 0].astype(np.float64)
        further = 1 + np.minimum(numbers * (count - 1), np.maximum(count - 2, 0)).astype(np.int64)
        return self._sorted[self._starts[groups] + (self._place[rows] + further * (count > 1)) % count]

    def beside(self, raw: Any, rows: Rows, draws: Rows) -> Paired:
        """The raw batch together with that of the positives; an unreadable one gives way to the sample itself."""
        partners = self.partners(rows, draws)
        other, kept = self._source.fetch(partners)
        if len(kept) < len(partners):
            other, _ = self._source.fetch(np.where(np.isin(partners, kept), partners, rows))
        _, contents = np.unique(self._source.ids[rows], return_inverse=True)
        # Named by their groups, which stay the same from batch to batch: queues keep these names.
        return Paired(raw, other, linked(self._groups[rows], len(self._counts) + contents))


class Given:
    """The sample that the data names as positive."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def beside(self, raw: Any, rows: Rows, draws: Rows) -> Paired:
        """The raw batch together with that of the positives."""
        positives = self._source.positives
        assert positives is not None
        other, kept = positives.fetch(rows)
        if len(kept) < len(rows):
            positives = self._source.positives  # what is unreadable is known by now, and the sample stands for it
            assert positives is not None
            other, _ = positives.fetch(rows)
        return Paired(raw, other, linked(self._source.ids[rows], positives.ids[rows]))


def alternating(own: Views, other: Views) -> Views:
    """The views of a batch, the odd ones made of the samples' positives."""

    def make(number: int, start: int, stop: int) -> Any:
        return (other if number % 2 else own).part(start, stop)[number]

    return Views(make, own.numbers, own.start, own.stop, own.wide)


def linked(ids: Rows, others: Rows) -> Rows:
    """[n]: equal for all i that pairs (ids[i], others[i]) join, directly or in a chain."""
    names, places = np.unique(np.concatenate([ids, others]), return_inverse=True)
    one, other = np.split(places, 2)
    least = np.arange(len(names))
    while True:
        both = np.minimum(least[one], least[other])
        before = least.copy()
        np.minimum.at(least, one, both)
        np.minimum.at(least, other, both)
        if np.array_equal(least, before):
            return names[least[one]]
