"""Samples that are of one size once decoded: each is decoded when first fetched, and kept in memory or on disk."""

import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nearfar.contract import Reading, Rows, Unreadable
from nearfar.data.contents import reason_of
from nearfar.data.decoded_store import open_records
from nearfar.data.identity import Identity
from nearfar.data.record_file import Records, digest
from nearfar.data.samples import Samples
from nearfar.memory import available_memory

Bytes = NDArray[np.uint8]
T = TypeVar("T")
log = logging.getLogger("nearfar")

_CHUNK = 64


class Decoded:
    """All N samples as records of `size` bytes, each with a number, its note; shared by all sources of the samples.

    `decode` fills a record with what a row holds and returns its note; it raises Unreadable, and is called by `threads`
    at a time. Records lie in memory where they take at most `memory_limit` bytes (None: a quarter of what is free) and
    are at most `quick` bytes each, else in the `cache` on disk (`auto`, `off` or a folder), under what `form` says of
    how they were made, or in memory too where there is no such cache. With `grow=False` the cache is only read.
    """

    def __init__(
        self,
        samples: Samples,
        reading: Reading,
        decode: Callable[[int, Bytes], float],
        *,
        size: int,
        form: Mapping[str, Any],
        name: str,
        quick: int = 0,
        threads: int = 1,
        memory_limit: int | None = None,
        cache: str = "auto",
        grow: bool = True,
    ) -> None:
        self.reading = reading
        self.size = size
        self.notes = np.ones(len(samples))
        self._decode = decode
        self._threads = threads
        self._identity = Identity(samples, samples.origin)
        self._kept = np.zeros(len(samples), dtype=bool)
        self._memory: Bytes | None = None  # [N size]; a row is valid where kept
        self._records: Records | None = None
        self._slots = np.zeros(len(samples), dtype=np.int64)  # in the records; valid where kept
        limit = available_memory() // 4 if memory_limit is None else memory_limit
        fits = len(samples) * size <= limit
        if not (fits and size <= quick) and cache != "off" and self._identity.known:
            about = {"data": self._identity.place, "split": samples.split, **form}
            self._records = open_records(cache, name, about, size=size, count=len(samples), grow=grow)
        if self._records is None and fits:
            # Pages that nothing is written to cost nothing, so the rows never asked for are free.
            self._memory = np.empty((len(samples), size), dtype=np.uint8)
        elif self._records is None:
            log.info("%s take %.1f GB decoded: they are decoded as needed", name, len(samples) * size / 1e9)

    def fetch(self, rows: Rows) -> tuple[Bytes, NDArray[np.float64], Rows]:
        """The records of these rows `[n, size]`, their notes [n], and the places in `rows` of the readable ones."""
        found = np.empty((len(rows), self.size), dtype=np.uint8)
        wanted = np.flatnonzero(~self.reading.unreadable[rows])
        if self._memory is not None:
            kept = wanted[self._kept[rows[wanted]]]
            found[kept] = self._memory[rows[kept]]
        else:
            for place in wanted[self._kept[rows[wanted]]].tolist():
                self._kept[rows[place]] = self._again(int(rows[place]), found[place])
        new = wanted[~self._kept[rows[wanted]]]

        def first(places: Rows) -> list[tuple[int, int | None]]:
            """The places that had to be decoded, with the names of what was decoded."""
            made = []
            for place in places.tolist():
                row = int(rows[place])
                name = None if self._records is None else self._identity.of(row)  # before it is read: it may change
                if not self._found(row, name, found[place]) and self._made(row, found[place]):
                    made.append((place, name))
            return made

        step = max(1, min(_CHUNK, -(-len(new) // self._threads)))
        self._keep(
            rows, [one for some in in_threads(first, in_chunks(new, step), self._threads) for one in some], found
        )
        self.reading.check()
        good = np.flatnonzero(~self.reading.unreadable[rows])
        return (found if len(good) == len(rows) else found[good]), self.notes[rows[good]], good

    def _again(self, row: int, out: Bytes) -> bool:
        """Fill `out` from the disk; False where it is lost."""
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

    def _made(self, row: int, out: Bytes) -> bool:
        """Decode a sample into `out`; False where it is unreadable."""
        try:
            note = self._decode(row, out)
        except Unreadable as error:
            self.reading.refuse(row, str(error))
            return False
        self.reading.ids[row], self.notes[row] = digest(out, note), note
        self.reading.tried[row] = True
        return True

    def _keep(self, rows: Rows, made: list[tuple[int, int | None]], found: Bytes) -> None:
        """Keep what was decoded, where there is room for it."""
        if self._memory is not None:
            places = [place for place, _ in made]
            self._memory[rows[places]] = found[places]
            self._kept[rows[places]] = True
        elif self._records is not None and self._records.limit:
            named = [(place, name) for place, name in made if name is not None]
            notes = [(int(self.reading.ids[rows[place]]), float(self.notes[rows[place]])) for place, _ in named]
            try:
                slots = self._records.append([name for _, name in named], [found[p] for p, _ in named], notes)
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
