"""Decoded samples that are kept, in memory or in records on disk: each is decoded when it is first wanted."""

import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nearfar.contract import Reading, Rows
from nearfar.data.contents import reason_of
from nearfar.data.decoded_store import open_records
from nearfar.data.identity import Identity
from nearfar.data.record_file import Records
from nearfar.data.samples import Samples
from nearfar.memory import available_memory

Bytes = NDArray[np.uint8]
T = TypeVar("T")
log = logging.getLogger("nearfar")

CHUNK = 64
"""Samples that one thread decodes at a time, at most."""


class Kept:
    """Where the decoded forms of N samples are, as arrays of bytes of one shape; `notes` [N] has a number of each.

    They lie in memory where they fit into `memory_limit` bytes (None: a quarter of what is free) and are quicker
    decoded than looked up, else in the `cache` on disk (`auto`, `off` or a folder), or in memory too where there is no
    such cache. With `grow=False` the cache is only read.
    """

    def __init__(
        self,
        samples: Samples,
        reading: Reading,
        *,
        threads: int,
        memory_limit: int | None = None,
        cache: str = "auto",
        grow: bool = True,
    ) -> None:
        self.samples = samples
        self.reading = reading
        self.threads = threads
        self.memory_limit = memory_limit
        self.cache = cache
        self.grow = grow
        self.notes = np.ones(len(samples))
        self._identity = Identity(samples, samples.origin)
        self._kept = np.zeros(len(samples), dtype=bool)
        self._memory: Bytes | None = None  # [N ...]; a row is valid where kept
        self._records: Records | None = None
        self._slots = np.zeros(len(samples), dtype=np.int64)  # in the records; valid where kept

    def _open(self, count: int, shape: tuple[int, ...], form: Mapping[str, Any], name: str, *, quick: bool) -> None:
        """Choose where `count` arrays of this shape are kept; `form` says how they are made, `name` what they are."""
        size = int(np.prod(shape))
        limit = available_memory() // 4 if self.memory_limit is None else self.memory_limit
        fits = count * size <= limit
        if not (fits and quick) and self.cache != "off" and self._identity.known:
            about = {"data": self._identity.place, "split": self.samples.split, **form}
            self._records = open_records(self.cache, name, about, size=size, count=count, grow=self.grow)
        if self._records is None and fits:
            # Pages that nothing is written to cost nothing, so the rows never asked for are free.
            self._memory = np.empty((len(self.samples), *shape), dtype=np.uint8)
        elif self._records is None:
            log.info("%s take %.1f GB decoded: they are decoded as needed", name, count * size / 1e9)

    def _fill_new(self, rows: Rows, places: Rows, out: Bytes, decode: Callable[[int, Bytes], bool]) -> None:
        """Fill `out` [n ...] at those places of `rows` [n] that are not kept, and keep them.

        `decode` fills one array with what a row holds, and says whether it could.
        """

        def first(places: Rows) -> list[tuple[int, int | None]]:
            """The places that had to be decoded, with the names of what was decoded."""
            made = []
            for place in places.tolist():
                row = int(rows[place])
                name = None if self._records is None else self._identity.of(row)  # before it is read: it may change
                if not self._found(row, name, out[place]) and decode(row, out[place]):
                    made.append((place, name))
            return made

        step = max(1, min(CHUNK, -(-len(places) // self.threads)))
        self._keep(
            rows, [one for some in in_threads(first, in_chunks(places, step), self.threads) for one in some], out
        )

    def _again(self, row: int, out: Bytes) -> bool:
        """Fill `out` from where the sample is kept; False where it is lost."""
        if self._memory is not None:
            out[:] = self._memory[row]
            return True
        return self._records is not None and self._records.read(int(self._slots[row]), out)

    def _found(self, row: int, name: int | None, out: Bytes) -> bool:
        """Fill `out` from what an earlier run has decoded; False where there is nothing."""
        if self._records is None or name is None or (slot := self._records.slot(name)) is None:
            return False
        found = self._records.checked(slot, out)
        if found is None:
            return False
        self.reading.ids[row], self.notes[row] = found
        self._slots[row] = slot
        self.reading.tried[row] = self._kept[row] = True
        return True

    def _keep(self, rows: Rows, made: list[tuple[int, int | None]], out: Bytes) -> None:
        """Keep what was decoded, where there is room for it."""
        if self._memory is not None:
            places = [place for place, _ in made]
            self._memory[rows[places]] = out[places]
            self._kept[rows[places]] = True
        elif self._records is not None and self._records.limit:
            named = [(place, name) for place, name in made if name is not None]
            notes = [(int(self.reading.ids[rows[place]]), float(self.notes[rows[place]])) for place, _ in named]
            try:
                slots = self._records.append([name for _, name in named], [out[place] for place, _ in named], notes)
            except OSError as error:
                self._records.limit = 0
                log.warning(
                    "No more decoded samples can be kept (%s): the others are decoded as needed.", reason_of(error)
                )
                return
            for (place, _), slot in zip(named, slots, strict=True):
                if slot is not None:
                    self._slots[rows[place]], self._kept[rows[place]] = slot, True


def in_chunks(rows: Rows, size: int) -> list[Rows]:
    """The rows, at most `size` at a time."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def in_threads(work: Callable[[Rows], T], chunks: Iterable[Rows], threads: int) -> Generator[T, None, None]:
    """The results of `work` for all chunks, in order; closing it drops what has not begun."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield from pool.map(work, chunks)
    finally:
        pool.shutdown(cancel_futures=True)
