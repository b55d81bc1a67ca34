"""Samples of two sides: each side is read by the source of its own kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar import randomness
from nearfar.contract import Card, Encoder, Matched, Modality, Rows, Source
from nearfar.data.contents import Cells
from nearfar.data.keys import unique
from nearfar.data.samples import Samples
from nearfar.modalities.pairs.dividing import divide
from nearfar.modalities.pairs.options import read_frozen

if TYPE_CHECKING:
    import pyarrow as pa

_ON_A_CARD = 3  # items of the second side
_LEAST = 10  # pairs, of which some are kept back to judge by


@dataclass(frozen=True)
class OfSide:
    """A raw batch of one side as its own source fetches it; of a frozen side, None and its `items` [b] in `source`."""

    side: int
    raw: Any
    source: SideSource | None = None
    items: Rows | None = None


class SideSource(Source):
    """The items of one side, read by the source of their kind, `inner`, which shows all of its samples.

    `names` are those of both sides. Ids are those of the inner source; those of items that were not read yet are moved
    by `apart`, so that the two sides have none in common. The vectors of a `frozen` side are computed once for an
    encoder, and its items are not read again.
    """

    def __init__(
        self, inner: Source, side: int, names: Sequence[str], *, kind: Modality, options: Any = None, apart: int = 0
    ) -> None:
        super().__init__(inner.whole, inner.reading)
        self.at = inner.at
        self.side = side
        self.names = tuple(names)
        self.frozen = False
        self.kind = kind
        self._options = options
        self._config: Mapping[str, Any] | None = None
        self._all = inner
        self._apart = apart
        self._known: WeakKeyDictionary[Encoder, tuple[Tensor, Tensor]] = WeakKeyDictionary()

    @cached_property
    def inner(self) -> Source:
        """These items as their own kind of source has them."""
        return self._all.take(self.at)

    @property
    def ids(self) -> Rows:
        """[N]: equal for items whose content is the same, as far as they were read."""
        ids = self.inner.ids
        return np.where(ids >= 0, ids + self._apart, ids)

    def suited(self, config: Mapping[str, Any]) -> SideSource:
        """The same items as the tower of an encoder of this `config` needs them."""
        some = copy(self)
        some.__dict__.pop("inner", None)
        some._all = self._all.suited(config["towers"][self.side])
        some.reading = some._all.reading
        some.frozen = self.names[self.side] in read_frozen(config.get("frozen_sides"), self.names)
        some._known = WeakKeyDictionary()
        some._config = config
        return some

    def of_texts(self, texts: Sequence[str]) -> SideSource:
        """These texts as items of this side, where its kind reads texts."""
        samples = Samples(name="texts", keys=unique(texts), contents=Cells(texts), rows=np.arange(len(texts)))
        inner = self.kind.source(samples, options=self._options)
        made = SideSource(inner, self.side, self.names, kind=self.kind, options=self._options)
        return made if self._config is None else made.suited(self._config)

    def at_places(self, places: Rows) -> SideSource:
        """The items at these places of all that were opened."""
        found = self._showing(places)
        assert isinstance(found, SideSource)
        return found

    def about(self, rows: Rows) -> Mapping[str, pa.Array]:
        """What the own kind of source keeps beside the vectors of these items, such as a text."""
        return self.inner.about(rows)

    def fetch(self, rows: Rows) -> tuple[OfSide, Rows]:
        """These items as one raw batch, and the rows that are in it."""
        wanted = np.asarray(rows, dtype=np.int64)
        if not self.frozen:
            raw, kept = self.inner.fetch(wanted)
            return OfSide(self.side, raw), kept
        self.try_out(wanted)
        kept = wanted[~self.reading.unreadable[self.at[wanted]]]
        return OfSide(self.side, None, self, kept), kept

    def try_out(self, rows: Rows) -> None:
        """Read those of these items that were never read, to know which can be."""
        places = self.at[rows]
        new = rows[~self.reading.tried[places] & ~self.reading.unreadable[places]]
        if len(new):
            self.inner.fetch(new)
            self.reading.tried[self.at[new]] = True

    @torch.no_grad()
    def vectors_of(self, tower: Encoder, rows: Rows) -> Tensor:
        """What a frozen tower makes of these items [b, d], on its device; computed for each item once."""
        if tower not in self._known:
            count = len(self.whole)
            self._known[tower] = torch.zeros(count, tower.dim), torch.zeros(count, dtype=torch.bool)
        vectors, known = self._known[tower]
        places = torch.from_numpy(self.at[rows])
        missing = np.unique(rows[~known[places].numpy()])
        for start in range(0, len(missing), tower.embed_batch):
            raw, kept = self.inner.fetch(missing[start : start + tower.embed_batch])
            with torch.autocast(tower.device.type, enabled=False):
                found = tower.vectors(tower.prepare(raw)).float().cpu()
            at = torch.from_numpy(self.at[kept])
            vectors[at], known[at] = found, True
        return vectors[places].to(tower.device)

    def vectors(self) -> Tensor | None:
        """The raw input of the side."""
        return self.inner.vectors()

    def cards(self, rows: Rows) -> list[Card]:
        """What a report shows of these items."""
        return self.inner.cards(rows)


class PairSource(Source):
    """N samples, each of one item of the `first` side, and those of the `second` from `starts[i]` to `starts[i + 1]`.

    `starts` are of all samples of the first side. A batch is of the first side; the positives are items of the second,
    of which a step draws one for each sample. A sample of which one side cannot be read is left out and listed.
    `columns` says where the sides were found, as the option does. Names of classes stand in `templates` where samples
    are compared with them.
    """

    def __init__(
        self, first: SideSource, second: SideSource, starts: Rows, *, columns: str, templates: Sequence[str] = ("{}",)
    ) -> None:
        super().__init__(first.whole, first.reading)
        self.at = np.flatnonzero(np.diff(starts) > 0)
        self.first = first
        self.second = second
        self.starts = starts
        self.templates = tuple(templates)
        self.columns = columns

    @property
    def kinds(self) -> tuple[str, str]:
        """The kinds of both sides."""
        return self.first.kind.name, self.second.kind.name

    @property
    def sides(self) -> Mapping[str, Source]:
        """The items of each side by its name."""
        return dict(zip(self.second.names, self.own, strict=True))

    @cached_property
    def own(self) -> tuple[SideSource, SideSource]:
        """The items of these samples: one of the first side for each, and all of the second."""
        items = [np.arange(self.starts[i], self.starts[i + 1]) for i in self.at.tolist()]
        second = np.concatenate([*items, self.at[:0]])
        return self.first.at_places(self.at), self.second.at_places(second)

    @cached_property
    def owners(self) -> Rows:
        """[M]: the sample here that each item of `own[1]` belongs to."""
        return np.repeat(np.arange(len(self)), self.starts[self.at + 1] - self.starts[self.at])

    @property
    def ids(self) -> Rows:
        """[N]: of the first side."""
        return self.own[0].ids

    @property
    def positives(self) -> SideSource:
        """The first readable item of the second side of each sample."""
        return self.second.at_places(self._readable(self.starts[self.at]))

    def drawn_positives(self, rows: Rows, draws: Rows, seed: int) -> tuple[Source, Rows]:
        """An item of the second side of each of these samples, drawn evenly by key."""
        first, last = self.starts[self.at[rows]], self.starts[self.at[rows] + 1]
        numbers = randomness.uniform(seed, "items", draws, 1)[:, 0].astype(np.float64)
        chosen = first + np.minimum((numbers * (last - first)).astype(np.int64), last - first - 1)
        return self.second.at_places(self._readable(chosen)), np.arange(len(rows))

    def suited(self, config: Mapping[str, Any]) -> PairSource:
        """The same samples as the towers of an encoder of this `config` need them."""
        some = copy(self)
        for name in ("own", "owners"):
            some.__dict__.pop(name, None)
        some.first, some.second = self.first.suited(config), self.second.suited(config)
        some.reading = some.first.reading
        return some

    def fetch(self, rows: Rows) -> tuple[OfSide, Rows]:
        """The first side of these samples, and the rows of those that can be read on both."""
        raw, kept = self.own[0].fetch(rows)
        there = kept[self._paired(kept)]
        if len(there) < len(kept):
            self.reading.check()
            raw, there = self.own[0].fetch(there)
        return raw, there

    def split(self, seed: int) -> tuple[Rows, Rows] | None:
        """Rows to train on and a fifth to judge by, which have no content in common; None of a few."""
        return None if len(self) < _LEAST else divide(*self.own, self.owners, seed)

    def matched(self) -> Matched | None:
        """Each sample's item of the first side, and all of its items of the second."""
        one, other = self.own
        a, b = self.second.names
        rows, others = self.owners, np.arange(len(other))
        directions = f"{a} to {b}", f"{b} to {a}"
        return Matched(one=one, other=other, rows=rows, others=others, directions=directions)

    def named(self, classes: Sequence[str]) -> tuple[Source, Rows] | None:
        """The names of classes in all templates, as items of the second side; None where that has no texts."""
        if not self.second.kind.inline:
            return None
        sentences = [template.replace("{}", name) for name in classes for template in self.templates]
        return self.second.of_texts(sentences), np.repeat(np.arange(len(classes)), len(self.templates))

    def vectors(self) -> Tensor | None:
        """The raw input of the first side."""
        return self.own[0].vectors()

    def cards(self, rows: Rows) -> list[Card]:
        """What a report shows of both sides: the picture of one, the texts of both."""
        at = np.asarray(rows, dtype=np.int64)
        cards = self.own[0].cards(at)
        others = [self.second.at_places(self._items(row)[:_ON_A_CARD]) for row in self.at[at].tolist()]
        flat = self.second.at_places(np.concatenate([*(one.at for one in others), self.at[:0]]))
        shown = iter(flat.cards(np.arange(len(flat))))
        found = []
        for card, other in zip(cards, others, strict=True):
            besides = [next(shown) for _ in range(len(other))]
            texts = [one.text for one in (card, *besides) if one.text]
            image = card.image or next((one.image for one in besides if one.image), None)
            label = card.label or next((one.label for one in besides if one.label), None)
            found.append(replace(card, image=image, text="\n".join(texts) or None, label=label))
        return found

    def _items(self, place: int) -> Rows:
        return np.arange(self.starts[place], self.starts[place + 1])

    def _readable(self, items: Rows) -> Rows:
        """Each of these items, or where it cannot be read the next one of its sample that can."""
        lost = self.second.reading.unreadable
        if not lost[items].any():
            return items
        found = items.copy()
        for i in np.flatnonzero(lost[items]).tolist():
            first = int(np.searchsorted(self.starts, items[i], side="right")) - 1
            own = self._items(first)
            good = own[~lost[own]]
            if len(good):
                found[i] = good[np.searchsorted(good, items[i]) % len(good)]
        return found

    def _paired(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of these samples have a readable item on the second side; the others are refused."""
        items = [self._items(place) for place in self.at[rows].tolist()]
        every = np.concatenate([*items, self.at[:0]])
        self.second.at_places(every).try_out(np.arange(len(every)))
        lost = self.second.reading.unreadable
        found = np.array([not lost[own].all() for own in items], dtype=bool)
        if not found.all():
            reasons = {one.key: one.reason for one in self.second.skipped}
            for row, own in zip(rows.tolist(), items, strict=True):
                if lost[own].all():
                    reason = reasons.get(self.second.whole.keys[int(own[0])], "it cannot be read")
                    self.refuse(row, f"its {self.second.names[1]}: {reason}")
        return found
