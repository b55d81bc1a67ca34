"""Who had what: an interaction a sample, and behind the samples their users and items, each once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar import randomness
from nearfar.contract import Card, Relation, Source
from nearfar.data.contents import Nothing
from nearfar.data.keys import printable, unique
from nearfar.data.samples import Samples
from nearfar.errors import DataError
from nearfar.modalities.interactions.columns import ITEMS, RATINGS, TIMES, USERS, names_in, numbers_in
from nearfar.modalities.interactions.options import InteractionOptions

if TYPE_CHECKING:
    from nearfar.contract import Rows

log = logging.getLogger("nearfar")

HELD_OUT = 0.2
"""Share of each user's interactions that judge."""
NONE = -1
"""Stands in a history where there is no item, and for users and items that an encoder does not know."""
_SHOWN = 8


@dataclass(frozen=True)
class Log:
    """N interactions: numbers of users and items, ratings and times [N], NaN where they are not known.

    `users` and `items` are the names behind the numbers, `titles` what items are called where that is known.
    `stamped` says whether times are known; where they are not, rows follow one another as they stand.
    """

    user: Rows
    item: Rows
    rating: NDArray[np.float64] | None
    time: NDArray[np.float64]
    stamped: bool
    users: Sequence[str]
    items: Sequence[str]
    titles: Mapping[str, str]

    def title(self, item: int) -> str:
        """What an item is called: its title, else its name."""
        return printable(self.titles.get(self.items[item], self.items[item]))


class InteractionSource(Source):
    """Interactions, one a sample. What else a user had is known of the samples that this source shows, and of no other.

    Rows without a user, an item or a readable rating or time, and those that repeat a pair of user and item, are left
    out and listed. Raises DataError where none is left.
    """

    def __init__(self, samples: Samples, options: InteractionOptions, titles: Mapping[str, str]) -> None:
        found, kept, refused = _read(samples, options, titles)
        if not len(kept):
            key, reason = [*samples.refused, *refused, ("no row", "min_rating leaves none out of it")][0]
            raise DataError(f"{samples.name}: no interaction can be used (the first: {key}: {reason}).")
        super().__init__(replace(samples.take(kept), refused=(*samples.refused, *refused)))
        self.options = options
        self.log = found
        self.only_before = False
        """Whether of what a user had only what came before an interaction is fetched with it."""
        self.reading.ids = found.item.copy()  # what a sample shows is its item

    @property
    def user(self) -> Rows:
        """The number of the user of each sample [N]."""
        return self.log.user[self.at]

    @property
    def item(self) -> Rows:
        """The number of the item of each sample [N]."""
        return self.log.item[self.at]

    @cached_property
    def histories(self) -> Histories:
        """What each user had, of these samples."""
        return Histories.of(self.user, self.item, self.log.time[self.at], len(self.log.users))

    @cached_property
    def relation(self) -> Relation:
        """The users and the items of these samples, each once, and which of them each sample joins."""
        users, user = np.unique(self.user, return_inverse=True)
        items, item = np.unique(self.item, return_inverse=True)
        how = {
            "time": "the last 20 % of each user's interactions",
            "random": "a random 20 % of each user's interactions",
        }
        return Relation(Users(self, users), Items(self, items), user.reshape(-1), item.reshape(-1), how[self._split_by])

    @property
    def log_q(self) -> NDArray[np.float32]:
        """[2, N]: the logarithm of the share of the samples that are of the user of each, and of its item."""
        found = [np.log(np.bincount(side)[side] / len(side)) for side in (self.user, self.item)]
        return np.stack(found).astype(np.float32)

    @property
    def view_ids(self) -> Rows:
        """[2, N]: the user and the item of each sample."""
        return np.stack([self.user, self.item])

    @property
    def weights(self) -> NDArray[np.float32] | None:
        """[N]: more for a user's last interactions, as `recency` says; 1 in the mean."""
        recency = self.options.recency
        if not recency:
            return None
        histories, user = self.histories, self.user
        after = histories.starts[user + 1] - 1 - histories.place
        share = after / np.maximum(np.diff(histories.starts)[user], 1)
        weights = np.exp(-recency * share)
        found: NDArray[np.float32] = (weights / weights.mean()).astype(np.float32)
        return found

    @property
    def _split_by(self) -> str:
        return self.options.split_by or ("time" if self.log.stamped else "random")

    def split(self, seed: int) -> tuple[Rows, Rows]:
        """The rows to train on, and a fifth of each user's to judge by: the last ones, or some at random."""
        user = self.user
        if self._split_by == "time":
            order = np.lexsort((randomness.permutation(seed, "equal times", 0, len(user)), self.log.time[self.at]))
        else:
            order = randomness.permutation(seed, "held out", 0, len(user))
        order = order[np.argsort(user[order], kind="stable")]  # user after user
        count = np.bincount(user)
        place = np.arange(len(user)) - (np.cumsum(count) - count)[user[order]]
        held = place >= (count - np.round(HELD_OUT * count).astype(np.int64))[user[order]]
        return np.sort(order[~held]), np.sort(order[held])

    def suited(self, config: Mapping[str, Any]) -> Source:
        """The same samples by the numbers that the encoder of this `config` has for users and items.

        Samples of items that it does not know are unreadable: it has no vector for them.
        """
        some = copy(self)
        some.options = replace(self.options, history=config["history"], recency=config["recency"])
        some.only_before = config["encoder"] == "sequence"
        if self.log.users == config["users"] and self.log.items == config["items"]:
            return some
        users, items = ({name: i for i, name in enumerate(config[what])} for what in ("users", "items"))
        # Users that are not known stay apart from each other, behind those that are.
        more = [name for name in self.log.users if name not in users]
        users |= {name: len(users) + i for i, name in enumerate(more)}
        known = np.array([items.get(name, NONE) for name in self.log.items], dtype=np.int64)
        item = known[self.log.item]
        some.reading = self.reading.with_new_ids()
        some.log = replace(
            self.log,
            user=np.array([users[name] for name in self.log.users], dtype=np.int64)[self.log.user],
            item=item,
            users=list(users),
            items=config["items"],
            titles=dict(zip(config["items"], config["titles"], strict=True)) if config.get("titles") else {},
        )
        some.reading.ids = item.copy()
        for row in np.flatnonzero(item[self.at] < 0).tolist():
            some.refuse(row, "the encoder does not know this item")
        return some._showing(self.at[item[self.at] >= 0])

    def fetch(self, rows: Rows) -> tuple[dict[str, Tensor], Rows]:
        """Users, items, and of each user what else was had, latest last: `user` [b], `item` [b], `history` [b, L]."""
        rows = np.asarray(rows, dtype=np.int64)
        user, item = self.user[rows], self.item[rows]
        history = self.histories.of_others(user, rows, self.options.history, only_before=self.only_before)
        return {"user": torch.from_numpy(user), "item": torch.from_numpy(item), "history": history}, rows

    def cards(self, rows: Rows) -> list[Card]:
        """Who had what, and how it was rated."""
        return [replace(card, text=self._said(int(row))) for card, row in zip(super().cards(rows), rows, strict=True)]

    def _said(self, row: int) -> str:
        at, found = int(self.at[row]), self.log
        lines = [f"user: {printable(found.users[found.user[at]])}", f"item: {found.title(int(found.item[at]))}"]
        if found.rating is not None:
            lines.append(f"rating: {found.rating[at]:g}")
        if found.stamped:
            lines.append(f"time: {_date(found.time[at])}")
        return "\n".join(lines)


class Histories:
    """What each of U users had, in the order of time: `items` and `rows` [N] user after user, from `starts` [U + 1]."""

    def __init__(self, items: Rows, rows: Rows, starts: Rows) -> None:
        self.items, self.rows, self.starts = items, rows, starts
        self.place = np.empty(len(rows), dtype=np.int64)
        self.place[rows] = np.arange(len(rows))

    @classmethod
    def of(cls, user: Rows, item: Rows, time: NDArray[np.float64], users: int) -> Histories:
        """Those of N interactions."""
        order = np.lexsort((np.arange(len(user)), time, user))
        return cls(item[order], order, np.searchsorted(user[order], np.arange(users + 1)))

    def of_users(self, users: Rows, most: int | None) -> Tensor:
        """All that users had, but at most the last `most`, `[b, L]`, NONE behind the end."""
        stop = self.starts[users + 1]
        return self._filled(self.starts[users], stop, stop, most)

    def of_others(self, users: Rows, rows: Rows, most: int | None, *, only_before: bool) -> Tensor:
        """What users had beside the interactions `rows`: at most `most`, the last ones before and the first after."""
        start, at = self.starts[users], self.place[rows]
        stop = at if only_before else self.starts[users + 1]
        return self._filled(start, stop, at, most)

    def _filled(self, start: Rows, stop: Rows, without: Rows, most: int | None) -> Tensor:
        """The items from `start` to before `stop`, one left out: those around it where there are more than `most`."""
        there = stop - start - (without < stop)
        length = np.minimum(there, there if most is None else most)
        first = np.clip(without - length, start, np.maximum(stop - (without < stop) - length, start))
        column = np.arange(int(length.max(initial=1)))
        at = first[:, None] + column
        at += at >= without[:, None]
        inside = column < length[:, None]
        found = np.where(inside, self.items[np.where(inside, at, 0)] if len(self.items) else NONE, NONE)
        return torch.from_numpy(found)


class _Side(Source):
    """The users or the items of interactions, each once; `numbers` [n] of them."""

    def __init__(self, of: InteractionSource, numbers: Rows, names: Sequence[str]) -> None:
        keys = unique(printable(name) for name in names)
        contents = Nothing(len(numbers))
        super().__init__(Samples(name=of.name, keys=keys, contents=contents, rows=np.arange(len(numbers))))
        self.numbers = numbers
        self._of = of


class Users(_Side):
    """The users of interactions."""

    def __init__(self, of: InteractionSource, numbers: Rows) -> None:
        super().__init__(of, numbers, [of.log.users[number] for number in numbers.tolist()])

    def fetch(self, rows: Rows) -> tuple[dict[str, Tensor], Rows]:
        """`user` [b], and all that each had, `history` [b, L]."""
        users = self.numbers[self.at[rows]]
        history = self._of.histories.of_users(users, self._of.options.history)
        return {"user": torch.from_numpy(users), "history": history}, np.asarray(rows, dtype=np.int64)

    def cards(self, rows: Rows) -> list[Card]:
        """What each had last."""
        histories, found = self._of.histories, self._of.log
        cards = super().cards(rows)
        last = histories.of_users(self.numbers[self.at[rows]], _SHOWN).tolist()
        texts = ["\n".join(found.title(item) for item in reversed(items) if item >= 0) for items in last]
        return [replace(card, text=text) for card, text in zip(cards, texts, strict=True)]


class Items(_Side):
    """The items of interactions."""

    def __init__(self, of: InteractionSource, numbers: Rows) -> None:
        super().__init__(of, numbers, [of.log.title(number) for number in numbers.tolist()])

    def fetch(self, rows: Rows) -> tuple[dict[str, Tensor], Rows]:
        """`item` [b]."""
        return {"item": torch.from_numpy(self.numbers[self.at[rows]])}, np.asarray(rows, dtype=np.int64)


def _read(
    samples: Samples, options: InteractionOptions, titles: Mapping[str, str]
) -> tuple[Log, Rows, list[tuple[str, str]]]:
    """The interactions that can be used, their rows, and the keys of the others with the reason."""
    table = samples.table
    assert table is not None
    users, items = names_in(table, USERS, "users"), names_in(table, ITEMS, "items")
    ratings, times = numbers_in(table, RATINGS), numbers_in(table, TIMES)
    reasons: dict[int, str] = {}
    for what, codes in (("user", users), ("item", items)):
        reasons |= dict.fromkeys(np.flatnonzero(codes.at < 0).tolist(), f"no {what}")
    for what, column in (("rating", ratings), ("time", times)):
        if column is not None:
            for row in np.flatnonzero(np.isnan(column)).tolist():
                reasons.setdefault(row, f"its {what} is missing or no {'number' if what == 'rating' else 'date'}")
    usable = np.setdiff1d(np.arange(len(samples)), np.array(list(reasons), dtype=np.int64))
    if options.min_rating is not None:
        if ratings is None:
            raise DataError(f"{samples.name} has no column of ratings, so min_rating says nothing: leave it out.")
        liked = usable[ratings[usable] >= options.min_rating]
        log.info("%s: %d interactions are rated below %g", samples.name, len(usable) - len(liked), options.min_rating)
        usable = liked
    first = _first_of_each(users.at[usable], items.at[usable])
    for row in usable[~first].tolist():
        reasons[row] = f"the user {users.names[users.at[row]]} had the item {items.names[items.at[row]]} before"
    usable = usable[first]
    if len(usable):
        users, items = users.only(usable), items.only(usable)
    time = np.arange(len(samples), dtype=np.float64) if times is None else times
    found = Log(
        user=users.at,
        item=items.at,
        rating=None if ratings is None else ratings[usable],
        time=time[usable],
        stamped=times is not None,
        users=users.names,
        items=items.names,
        titles=titles,
    )
    return found, usable, [(samples.keys[row], reason) for row, reason in sorted(reasons.items())]


def _first_of_each(user: Rows, item: Rows) -> NDArray[np.bool_]:
    """[N]: whether a pair of user and item is the first of its kind."""
    first = np.zeros(len(user), dtype=bool)
    first[np.unique(np.stack([user, item], axis=1), axis=0, return_index=True)[1]] = True
    return first


def _date(time: float) -> str:
    """A time as its day where it counts seconds of these decades, else as the number."""
    return datetime.fromtimestamp(time, UTC).date().isoformat() if 3e8 < time < 6e9 else f"{time:g}"
