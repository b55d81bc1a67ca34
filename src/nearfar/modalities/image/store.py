"""Decoded squares of a listing's pictures: kept in memory where they fit, decoded when asked for where not."""

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.contract import Skipped
from nearfar.errors import DataError
from nearfar.modalities.contents import reason_of
from nearfar.modalities.image.decode import Unreadable, decode
from nearfar.modalities.image.pictures import Pictures
from nearfar.modalities.listing import Listing
from nearfar.progress import track

Rows = NDArray[np.int64]
T = TypeVar("T")
log = logging.getLogger("nearfar")

_CHUNK = 64
_TRUST = 20
"""From this many pictures on, more unreadable than readable ones are an error."""


class Store:
    """The squares of all N pictures of a listing, shared by all sources that show some of them."""

    def __init__(self, listing: Listing, *, max_pixels: int | None, threads: int, memory_limit: int | None) -> None:
        self.listing = listing
        self.max_pixels = max_pixels
        self.threads = threads
        self.memory_limit = memory_limit
        self.skipped: list[Skipped] = listing.skipped
        self.ids = np.arange(len(listing))
        self.met = np.zeros(len(listing), dtype=bool)
        self.bad = np.zeros(len(listing), dtype=bool)
        self.form: tuple[int, int, int | None] | None = None
        self._done = np.zeros(len(listing), dtype=bool)
        self._kept: Pictures | None = None  # [N]; a row is valid where done
        self._lock = threading.Lock()

    def load(self, rows: Rows, size: int, channels: int, white: int | None) -> None:
        """Decode these rows into memory, if they fit; from now on all are fetched as `[channels, size, size]`.

        Raises DataError when more than half of the pictures met so far are unreadable.
        """
        if self.form != (size, channels, white):
            self.form = (size, channels, white)
            self._done[:] = False
            self._kept = None
            self.ids[:] = np.arange(len(self.listing))
        missing = rows[~self._done[rows] & ~self.bad[rows]]
        bytes_each = channels * size * size
        limit = available_memory() // 4 if self.memory_limit is None else self.memory_limit
        if len(missing) * bytes_each > limit:
            log.info("pictures take %.1f GB decoded: they are decoded as needed", len(missing) * bytes_each / 1e9)
            return
        if self._kept is None:
            # Pages that nothing is written to cost nothing, so the rows never asked for are free.
            pixels = torch.empty((len(self.listing), channels, size, size), dtype=torch.uint8)
            self._kept = Pictures(pixels, torch.ones(len(self.listing)))
        pixels_out, aspect_out = self._kept.pixels.numpy(), self._kept.aspect.numpy()

        def put(chunk: Rows) -> None:
            for row in chunk:
                square, aspect = self._decoded(int(row))
                if square is not None:
                    pixels_out[row], aspect_out[row] = square, aspect
                    content = hashlib.blake2b(square.data, digest_size=8, salt=np.float64(aspect).tobytes()).digest()
                    self.ids[row] = int.from_bytes(content, "little", signed=True)
                    self._done[row] = True

        chunks = [missing[i : i + _CHUNK] for i in range(0, len(missing), _CHUNK)]
        with closing(in_threads(put, chunks, self.threads)) as done:
            for _ in track(chunks, "decode"):
                next(done)
                self._check_trust()
        self.skipped.sort(key=lambda one: one.key)  # the threads' order is not always the same

    def fetch(self, rows: Rows) -> tuple[Pictures, Rows]:
        """The squares of these rows, and the places in `rows` of those that could be read."""
        if self.form is None:
            raise RuntimeError("load() comes before fetch().")
        good = np.flatnonzero(~self.bad[rows])
        if self._kept is not None and self._done[rows[good]].all():
            return self._picked(self._kept, rows[good]), good
        size, channels, _ = self.form
        pixels = torch.empty((len(rows), channels, size, size), dtype=torch.uint8)
        aspect = torch.ones(len(rows))
        pixels_out, aspect_out = pixels.numpy(), aspect.numpy()

        def put(places: Rows) -> None:
            for place in places:
                row = int(rows[place])
                if self._kept is not None and self._done[row]:
                    pixels_out[place], aspect_out[place] = self._kept.pixels[row].numpy(), self._kept.aspect[row].item()
                    continue
                square, own = self._decoded(row)
                if square is not None:
                    pixels_out[place], aspect_out[place] = square, own

        places = np.arange(len(rows))
        step = max(1, min(_CHUNK, -(-len(rows) // self.threads)))
        list(in_threads(put, [places[i : i + step] for i in range(0, len(rows), step)], self.threads))
        self._check_trust()
        good = np.flatnonzero(~self.bad[rows])
        return Pictures(pixels, aspect)[torch.from_numpy(good)], good

    def refuse(self, row: int, reason: str) -> None:
        """Note that a picture cannot be read, once."""
        with self._lock:
            self.met[row] = True
            if not self.bad[row]:
                self.bad[row] = True
                self.skipped.append(Skipped(self.listing.keys[row], reason))

    def _decoded(self, row: int) -> tuple[NDArray[np.uint8] | None, float]:
        if self.bad[row] or self.form is None:
            return None, 1.0
        size, channels, white = self.form
        try:
            given = encoded(self.listing, row)
            found = decode(given, size=size, channels=channels, max_pixels=self.max_pixels, white=white)
        except Unreadable as error:
            self.refuse(row, str(error))
            return None, 1.0
        self.met[row] = True
        return found

    def _check_trust(self) -> None:
        met, bad = int(self.met.sum()), int(self.bad.sum())
        if met >= _TRUST and bad > met / 2:
            raise DataError(mostly_unreadable(self.listing.name, bad, met, self.skipped))

    @staticmethod
    def _picked(pictures: Pictures, rows: Rows) -> Pictures:
        index = torch.from_numpy(rows)
        flat = pictures.pixels.view(len(pictures), -1).index_select(0, index)
        return Pictures(flat.view(-1, *pictures.pixels.shape[1:]), pictures.aspect[index])


def encoded(listing: Listing, row: int) -> bytes | str:
    """What the decoder gets of a sample: its file, or its bytes. Raises Unreadable."""
    path = listing.path(row)
    if path is not None:
        return str(path)
    try:
        return listing.bytes(row)
    except OSError as error:
        raise Unreadable(reason_of(error)) from None


def mostly_unreadable(name: str, bad: int, met: int, skipped: list[Skipped]) -> str:
    """The text of an error about data of which most cannot be read: three examples with their reasons."""
    shown = "; ".join(f"{one.key!r} ({one.reason})" for one in skipped[-bad:][:3])
    return f"{bad} of {met} images of {name!r} cannot be read: {shown}. Check the data, or leave those files out."


def in_threads(work: Callable[[Rows], T], chunks: Iterable[Rows], threads: int) -> Generator[T, None, None]:
    """The results of `work` for all chunks, in order; closing it drops what has not begun."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield from pool.map(work, chunks)
    finally:
        pool.shutdown(cancel_futures=True)


def available_memory() -> int:
    """Bytes of memory that are free for use, within the limit of a container."""
    free = 4 * 2**30
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            free = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit:
            most = limit.read().strip()
        with open("/sys/fs/cgroup/memory.current", encoding="ascii") as used:
            if most != "max":
                free = min(free, max(0, int(most) - int(used.read())))
    except (OSError, StopIteration, ValueError):
        pass
    if not os.path.exists("/proc/meminfo") and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return free
