"""How many labels a head learns from: a share of them, or some of each class; drawn by number, keyed by the seed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nearfar import randomness
from nearfar.contract import Rows
from nearfar.errors import ConfigError


@dataclass(frozen=True)
class Amount:
    """A `share` of the labels in (0, 1], of every class its own, or a number of labels `per_class`."""

    share: float = 1.0
    per_class: int | None = None

    @property
    def all(self) -> bool:
        """Whether that is all there are."""
        return self.per_class is None and self.share == 1

    @property
    def name(self) -> str:
        """As `amount` reads it."""
        return f"{100 * self.share:g}%" if self.per_class is None else str(self.per_class)

    @property
    def setting(self) -> dict[str, str | int]:
        """What tells rows of a table apart by it."""
        if self.per_class is not None:
            return {"labels per class": self.per_class}
        return {"labels": "all" if self.all else f"{100 * self.share:g} % of the labels"}


def amount(text: str) -> Amount:
    """`10%`, or `5` for five labels of each class; raises ConfigError."""
    word = text.strip()
    if re.fullmatch(r"\d+", word) and int(word) > 0:
        return Amount(per_class=int(word))
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", word)
    if found is None or not 0 < float(found[1]) <= 100:
        raise ConfigError(f"labels must be a share such as 10%, or a number for each class such as 5, got {text!r}.")
    return Amount(float(found[1]) / 100)


def drawn(labels: Rows, at: Rows, wanted: Amount, draw: int, seed: int) -> Rows:
    """The labels [N] with -1 for those that draw number `draw` leaves out; `at` [N] numbers the samples for good.

    A class gives its share, at least one; or so many, all where it has fewer. A draw with more labels holds the same
    draw with fewer.
    """
    if wanted.all:
        return labels
    shown = np.full_like(labels, -1)
    for number, rows in _by_class(labels, at, f"label draw {draw}", seed):
        count = wanted.per_class or max(1, round(wanted.share * len(rows)))
        shown[rows[:count]] = number
    return shown


def held_back(labels: Rows, at: Rows, share: float, seed: int) -> Rows:
    """Rows of the share of each class, none of one that would be left without; `at` as for `drawn`."""
    parts = [rows[: round(share * len(rows))] for _, rows in _by_class(labels, at, "held back", seed)]
    return np.sort(np.concatenate([labels[:0], *parts]))


def _by_class(labels: Rows, at: Rows, stream: str, seed: int) -> Iterator[tuple[int, Rows]]:
    """Each class and its rows in a random order, which depends on no other sample."""
    order = np.argsort(randomness.uniform(seed, stream, at, 1)[:, 0], kind="stable")
    for number in np.unique(labels[labels >= 0]).tolist():
        yield number, order[labels[order] == number]
