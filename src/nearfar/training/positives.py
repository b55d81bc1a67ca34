"""Views of another sample: the odd views of a batch may show a positive that the user gives, the last a negative."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from nearfar import randomness
from nearfar.contract import Requirements, Rows, Source, Views


@dataclass(frozen=True)
class Shown:
    """What the views of a batch show, by the source's ids: the samples [n], and their positives and negatives.

    `groups` [n] are numbers of the samples' groups, where these say what belongs together.
    """

    own: Rows
    others: Rows | None = None
    groups: Rows | None = None
    negatives: Rows | None = None

    @property
    def ids(self) -> Rows:
        """[n], as `Batch` has them."""
        if self.groups is not None:
            # Named by their groups, which stay the same from batch to batch: queues keep these names.
            _, content_ids = np.unique(self.own, return_inverse=True)
            return linked(self.groups, self.groups.max() + 1 + content_ids)
        return self.own if self.others is None else linked(self.own, self.others)

    @property
    def negative_ids(self) -> Rows | None:
        """[n], as `Batch` has them: a negative that shows what its sample or the positive shows has its sample's."""
        if self.negatives is None:
            return None
        ids, others = self.ids, self.own if self.others is None else self.others
        shown, first = np.unique(np.append(self.own, others), return_index=True)
        place = np.searchsorted(shown, self.negatives).clip(max=len(shown) - 1)
        return np.where(shown[place] == self.negatives, ids[first[place] % len(ids)], self.negatives)


@dataclass(frozen=True)
class Paired:
    """A raw batch, the raw batches of the samples' positives and of their negatives, and what all of them show."""

    own: Any
    other: Any
    shown: Shown
    negatives: Any = None


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
        """The raw batch together with that of the positives; an unreadable one is replaced by the sample."""
        partners = self.partners(rows, draws)
        other, kept = self._source.fetch(partners)
        if len(kept) < len(partners):
            partners = np.where(np.isin(partners, kept), partners, rows)
            other, _ = self._source.fetch(partners)
        ids = self._source.ids
        return Paired(raw, other, Shown(ids[rows], ids[partners], self._groups[rows]))


class Given:
    """The sample that the data names as positive, one of them drawn by key where it names several."""

    def __init__(self, source: Source, seed: int = 0) -> None:
        self._source = source
        self._seed = seed

    def beside(self, raw: Any, rows: Rows, draws: Rows) -> Paired:
        """The raw batch together with that of the positives."""
        other, ids = _named(lambda: self._source.drawn_positives(rows, draws, self._seed))
        return Paired(raw, other, Shown(self._source.ids[rows], ids))


class Against:
    """The sample that the data names as negative, drawn by key of several, beside the positives or the samples."""

    def __init__(self, source: Source, positives: Positives | None, seed: int = 0) -> None:
        self._source = source
        self._positives = positives
        self._seed = seed

    def beside(self, raw: Any, rows: Rows, draws: Rows) -> Paired:
        """The raw batch together with that of the positives and that of the negatives."""
        negatives, ids = _named(lambda: self._source.drawn_negatives(rows, draws, self._seed))
        if self._positives is None:
            paired = Paired(raw, raw, Shown(self._source.ids[rows]))
        else:
            paired = self._positives.beside(raw, rows, draws)
        return replace(paired, negatives=negatives, shown=replace(paired.shown, negatives=ids))


def _named(find: Callable[[], tuple[Source, Rows] | None]) -> tuple[Any, Rows]:
    """The raw batch of what the data names beside some rows, and the ids of what it shows."""
    found = find()
    assert found is not None
    others, rows = found
    raw, kept = others.fetch(rows)
    if len(kept) < len(rows):
        found = find()  # what is unreadable is known by now, and the sample stands for it
        assert found is not None
        others, rows = found
        raw, _ = others.fetch(rows)
    return raw, others.ids[rows]


def views_of(make: Callable[..., Views], raw: Any, draws: Rows, requires: Requirements) -> Views:
    """The views of a raw batch, or of a paired one; `make(raw, draws, requires=...)` makes those of one raw batch."""
    if not isinstance(raw, Paired):
        return make(raw, draws, requires=requires)
    if raw.negatives is None:
        return alternating(*(make(one, draws, requires=requires) for one in (raw.own, raw.other)))
    more = replace(requires, wide=requires.wide + 1)
    own, other, negatives = (make(one, draws, requires=more) for one in (raw.own, raw.other, raw.negatives))
    return against(alternating(own, other), negatives)


def alternating(own: Views, other: Views) -> Views:
    """The views of a batch, the odd ones made of the samples' positives."""

    def make(number: int, start: int, stop: int) -> Any:
        return (other if number % 2 else own).part(start, stop)[number]

    return Views(make, own.numbers, own.start, own.stop, own.wide)


def against(views: Views, negatives: Views) -> Views:
    """The views of a batch, the last wide one made of the samples' negatives."""

    def make(number: int, start: int, stop: int) -> Any:
        return (negatives if number == views.wide - 1 else views).part(start, stop)[number]

    return Views(make, views.numbers, views.start, views.stop, views.wide)


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
