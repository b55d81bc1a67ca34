"""Opened data: samples that are read by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar import randomness
from nearfar.contract import inputs
from nearfar.contract.inputs import Inputs
from nearfar.contract.reading import Reading, Rows, Skipped, Unreadable

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from nearfar.contract.annotations import Annotations
    from nearfar.data.samples import Samples


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a report shows of a sample: a small encoded picture, a text, and a small encoded sound that it plays."""

    key: str
    label: str | None = None
    image: bytes | None = None
    text: str | None = None
    media: bytes | None = None


@dataclass(frozen=True)
class Shards:
    """Containers that samples are read from: `numbers` [N] rise in reading order; all of them are `size` bytes."""

    numbers: Rows
    size: int


@dataclass(frozen=True)
class Relation:
    """What N samples join: each one of the `queries` [Q] with one of the `answers` [A], such as a user with an item.

    `query` and `answer` [N] say which. `held_out` says in words what part of them `split` holds out. The two parts
    of a split number them differently; they have the same keys.
    """

    queries: Source
    answers: Source
    query: Rows
    answer: Rows
    held_out: str


@dataclass(frozen=True, kw_only=True)
class Matched:
    """What belongs together: the samples `rows` [K] of `one` source, and `others` [K] of the `other`, pair by pair.

    `directions` say what searches what: the one the other, and the other way round.
    """

    one: Source
    other: Source
    rows: Rows
    others: Rows
    directions: tuple[str, str] = ("sample to positive", "positive to sample")


class Source:
    """Opened data: N samples, read by row.

    A modality's source writes either `read`, one row to the inputs of one sample, or, where batches are quicker,
    `fetch`. All else has a default by the `samples`, which say what was found: keys, labels, groups, where the bytes
    lie. `whole` are all samples that were opened and `at` [N] says which of them this source shows.
    """

    def __init__(self, samples: Samples, reading: Reading | None = None) -> None:
        self.whole = samples
        self.at: Rows = np.arange(len(samples), dtype=np.int64)
        self.reading = reading or Reading(samples)
        self._positives: Rows | None = None
        self._negatives: Rows | None = None
        self._targets: Tensor | None = None
        self.annotations: Annotations | None = None
        """What is said of places in the samples, where the data was opened with it."""

    def __len__(self) -> int:
        return len(self.at)

    @cached_property
    def samples(self) -> Samples:
        """What was found of these rows."""
        return self.whole.take(self.at)

    @property
    def name(self) -> str:
        """What messages call the data."""
        return self.whole.name

    @property
    def keys(self) -> Sequence[str]:
        """The samples' names [N]."""
        return self.samples.keys

    @property
    def labels(self) -> Rows | None:
        """Class numbers [N] into `label_names`, -1 where a sample has none; None where none has."""
        labels = self.whole.labels
        return None if labels is None else labels[self.at]

    @property
    def label_names(self) -> Sequence[str]:
        """The names of the classes."""
        return self.whole.label_names

    @property
    def groups(self) -> Rows | None:
        """[N]: equal for samples that the user says belong together; None where nothing is said."""
        groups = self.whole.groups
        return None if groups is None else groups[self.at]

    @property
    def domains(self) -> Rows | None:
        """[N]: numbers of where samples come from; None where nothing is said."""
        domains = self.whole.domains
        return None if domains is None else domains[self.at]

    @property
    def scores(self) -> NDArray[np.float32] | None:
        """[N]: how near each sample and its positive are, NaN where that is not said; None where nothing is said."""
        scores = self.whole.scores
        return None if scores is None else scores[self.at]

    @property
    def shards(self) -> Shards | None:
        """The containers that the samples lie in, if reading them in another order costs more; else None."""
        numbers = self.whole.shards
        return None if numbers is None else Shards(numbers[self.at], self.whole.size)

    @property
    def skipped(self) -> list[Skipped]:
        """The samples found unusable so far, of all that was opened."""
        return self.reading.skipped

    @property
    def usable(self) -> Rows:
        """The rows not found unreadable so far, in order."""
        return np.flatnonzero(~self.reading.unreadable[self.at])

    @property
    def ids(self) -> Rows:
        """[N]: of the samples fetched so far, equal for those whose content is the same."""
        ids: Rows = self.reading.ids[self.at]
        return ids

    @property
    def targets(self) -> Tensor | None:
        """[N, D]: the vector that a teacher gives for each sample; None without one."""
        return None if self._targets is None else self._targets[self.at]

    def with_targets(self, vectors: Tensor) -> Source:
        """The same samples with these vectors [N, D] of a teacher."""
        some = self._showing(self.at)
        table = vectors.new_full((len(self.whole), vectors.shape[1]), float("nan"))
        table[self.at] = vectors
        some._targets = table
        return some

    def with_labels(self, labels: Rows) -> Source:
        """The same samples with these class numbers [N], -1 for none."""
        known = self.whole.labels
        assert known is not None
        some, whole = self._showing(self.at), known.copy()
        whole[self.at] = labels
        some.whole = replace(self.whole, labels=whole)
        return some

    @property
    def domain_names(self) -> Sequence[str]:
        """What the domains are called."""
        return self.whole.domain_names

    def with_annotations(self, found: Annotations) -> Source:
        """The same samples with what is said of places in them."""
        some = self._showing(self.at)
        some.annotations = found
        return some

    @property
    def annotated(self) -> Rows | None:
        """[N]: 0 where a sample has an annotation, -1 where it has none; None where the data was opened without any."""
        return None if self.annotations is None else np.where(self.annotations.known[self.at], 0, -1)

    @property
    def positives(self) -> Source | None:
        """[N]: the sample that the user gives as the positive of each, itself where none is or where it is unreadable.

        None where nothing is said.
        """
        return self._beside(self._positives)

    def drawn_positives(self, rows: Rows, draws: Rows, seed: int) -> tuple[Source, Rows] | None:
        """The positives of these rows that a step shows: a source, and the row in it of each.

        By default those of `positives`; where a sample has several, one of them is drawn, keyed by (seed, draws[i]).
        """
        found = self.positives
        return None if found is None else (found, rows)

    @property
    def negatives(self) -> Source | None:
        """[N]: the sample that the user gives as a negative of each, the first of several, as `positives` are given."""
        first = None if self._negatives is None or self._negatives.ndim == 1 else self._negatives[:, 0]
        return self._beside(self._negatives if first is None else first)

    def drawn_negatives(self, rows: Rows, draws: Rows, seed: int) -> tuple[Source, Rows] | None:
        """The negatives of these rows that a step shows: a source, and the row in it of each.

        Where a sample has several, one of them is drawn, keyed by (seed, draws[i]); unreadable ones are not.
        """
        if self._negatives is None or self._negatives.ndim == 1:
            found = self.negatives
            return None if found is None else (found, rows)
        own = self.at[rows]
        places = self._negatives[own]  # [n k]
        there = (places != own[:, None]) & ~self.reading.unreadable[places]
        numbers = randomness.uniform(seed, "negatives", draws, 1)[:, 0].astype(np.float64)
        rank, every = (numbers * there.sum(1)).astype(np.int64), np.arange(len(rows), dtype=np.int64)
        chosen = np.argsort(~there, axis=1, kind="stable")[every, rank]
        return self._showing(np.where(there.any(1), places[every, chosen], own)), every

    def suited(self, config: Mapping[str, Any]) -> Source:
        """The same samples, read as an encoder of this `config` needs them; may take long."""
        return self

    def read(self, row: int) -> Inputs:
        """The inputs of one sample, without the first axis; raises Unreadable."""
        raise NotImplementedError("A source defines `read` or `fetch`.")

    def fetch(self, rows: Rows) -> tuple[Any, Rows]:
        """These samples as one raw batch, and the rows that are in it: unreadable ones are left out and listed."""
        read, kept = [], []
        for row in np.asarray(rows, dtype=np.int64).tolist():
            place = int(self.at[row])
            if self.reading.unreadable[place]:
                continue
            try:
                sample = self.read(row)
            except Unreadable as error:
                self.refuse(row, str(error))
                continue
            self.reading.ids[place] = inputs.digest(sample)
            self.reading.tried[place] = True
            read.append(sample)
            kept.append(row)
        self.reading.check()
        return inputs.stack(read) if read else None, np.array(kept, dtype=np.int64)

    def refuse(self, row: int, reason: str) -> None:
        """Note that a sample cannot be used."""
        self.reading.refuse(int(self.at[row]), reason)

    def take(self, rows: Rows) -> Source:
        """The same data, these rows only; what was found unreadable stays shared."""
        return self._showing(self.at[np.asarray(rows, dtype=np.int64)])

    def with_partners(self, count: int, positives: Rows | None, negatives: Rows | None) -> Source:
        """The first `count` samples; row i has that at `positives[i]` for its positive, and likewise its negative, or
        several [N, K]."""
        some = self._showing(self.at[:count])
        some._positives, some._negatives = positives, negatives
        return some

    def vectors(self) -> Tensor | None:
        """The raw input of the `usable` samples as vectors [N, D] float32: the baseline that needs no encoder.

        None where the raw input is nothing that can be compared.
        """
        return None

    @property
    def relation(self) -> Relation | None:
        """What the samples join, where each is a pair of things that come again in others; else None."""
        return None

    @property
    def shown(self) -> Source:
        """What is embedded, searched and shown of the samples: themselves, or the answers that they join."""
        return self if self.relation is None else self.relation.answers

    @property
    def log_q(self) -> NDArray[np.float32] | None:
        """[2, N]: the logarithm of how often what the first and the second view show comes among the samples.

        None where each comes once.
        """
        return None

    @property
    def view_ids(self) -> Rows | None:
        """[2, N]: what the first and the second view show, where these are different things; else None."""
        return None

    @property
    def weights(self) -> NDArray[np.float32] | None:
        """[N]: how much each sample counts in training, 1 in the mean; None where all count alike."""
        return None

    @property
    def sides(self) -> Mapping[str, Source]:
        """Of samples whose views are of several kinds: the items of each kind, the first ones being the samples."""
        return {}

    def content(self) -> Tensor | None:
        """Vectors of the `usable` samples [N, D] by which near-copies are near, whatever they mean; None without any.

        By default the raw input. What stands at one place is the same in every source of this kind.
        """
        return self.vectors()

    def defects(self, rows: Rows) -> list[Skipped]:
        """What is wrong with samples that can be read, or with a column of them, and why; by default nothing is."""
        return []

    def matched(self) -> Matched | None:
        """What belongs together: by default each sample and its positive; None where nothing is said."""
        positives = self.positives
        rows = np.arange(0) if positives is None else np.flatnonzero(positives.at != self.at)
        if positives is None or not len(rows):
            return None
        every = np.arange(len(rows))
        return Matched(one=self.take(rows), other=positives.take(rows), rows=every, others=every)

    def named(self, classes: Sequence[str]) -> tuple[Source, Rows] | None:
        """The names of classes as samples that these can be compared with, and the class [K] that each is of.

        None where names are nothing that these can be compared with.
        """
        return None

    def split(self, seed: int) -> tuple[Rows, Rows] | None:
        """Rows to train on and rows to judge by, where the data has no test part and labels are not what judges.

        By default those that `annotations` divide the samples into. None: where a task judges pairs, a fifth of them
        judges.
        """
        return None if self.annotations is None else self.annotations.divide(self.at, seed)

    def cards(self, rows: Rows) -> list[Card]:
        """What a report shows of these samples."""
        labels, names = self.labels, self.label_names
        found = []
        for row in np.asarray(rows, dtype=np.int64).tolist():
            label = None if labels is None or labels[row] < 0 else names[labels[row]]
            found.append(Card(key=self.keys[row], label=label))
        return found

    def annotated_card(self, row: int, annotation: Mapping[str, Any]) -> Card:
        """What a report shows of a sample with an annotation drawn over it, as `annotations.batch` has its parts."""
        raise NotImplementedError

    def about(self, rows: Rows) -> Mapping[str, pa.Array]:
        """Columns [n] that are kept beside the vectors of these samples: what the data says of each, by name.

        Their split, group and domain, and the further columns of a table where it was opened for that.
        """
        return self.whole.columns_of(self.at[np.asarray(rows, dtype=np.int64)])

    def _beside(self, others: Rows | None) -> Source | None:
        if others is None:
            return None
        places = others[self.at]
        return self._showing(np.where(self.reading.unreadable[places], self.at, places))

    def _showing(self, at: Rows) -> Source:
        some = copy(self)
        for name in list(vars(some)):  # what was worked out of the other rows
            if isinstance(getattr(type(self), name, None), cached_property):
                del vars(some)[name]
        some.at = at
        return some
