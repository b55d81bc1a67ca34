"""What reading has shown of samples: which were tried, which cannot be used and why, and which are the same."""

from __future__ import annotations

import threading
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import DataError

if TYPE_CHECKING:
    from nearfar.data.samples import Samples

Rows = NDArray[np.int64]
"""Numbers of samples."""

_TRUST = 20
"""From this many samples on, more unreadable than readable ones are an error."""


@dataclass(frozen=True)
class Skipped:
    """An input that could not be used, and why."""

    key: str
    reason: str


class Unreadable(Exception):
    """A sample cannot be used; the text is the reason in a few words."""


class Reading:
    """What reading has shown of the N samples of opened data; all sources taken from one another share it.

    `tried` and `unreadable` [N] say which samples were read, and which cannot be; `skipped` lists those with the
    reason. `ids` [N] are equal for samples read so far whose content is the same, and row numbers for the others.
    """

    def __init__(self, samples: Samples) -> None:
        self.name = samples.name
        self.skipped: list[Skipped] = list(samples.skipped)
        self.ids = np.arange(len(samples))
        self.tried = np.zeros(len(samples), dtype=bool)
        self.unreadable = np.zeros(len(samples), dtype=bool)
        self._samples = samples
        self._lock = threading.Lock()

    def refuse(self, row: int, reason: str) -> None:
        """Note that a sample cannot be used, once."""
        with self._lock:
            self.tried[row] = True
            if not self.unreadable[row]:
                self.unreadable[row] = True
                self.skipped.append(Skipped(self._samples.keys[row], reason))

    def with_new_ids(self) -> Reading:
        """The same, shared, but for the ids: what is the same in content depends on the form it is read in."""
        other = copy(self)
        other.ids = np.arange(len(self.ids))
        return other

    def check(self) -> None:
        """Raise DataError where most of what was read cannot be used."""
        if (tried := int(self.tried.sum())) >= _TRUST:
            self.check_share(int(self.unreadable.sum()), tried)

    def check_share(self, unreadable: int, tried: int) -> None:
        """Raise DataError, with three examples and their reasons, where that is more than half."""
        if unreadable <= tried / 2:
            return
        shown = "; ".join(f"{one.key!r} ({one.reason})" for one in self.skipped[-unreadable:][:3])
        raise DataError(
            f"{unreadable} of {tried} samples of {self.name!r} cannot be read: {shown}. "
            "Check the data, or leave those out."
        )
