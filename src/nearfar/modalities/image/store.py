"""Decoded squares of pictures: each is decoded once, and kept in memory or in the cache on disk."""

import logging
import threading
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.contract import Reading, Rows, Unreadable
from nearfar.data.contents import reason_of
from nearfar.data.decoded import in_chunks, in_threads
from nearfar.data.decoded_store import open_records
from nearfar.data.identity import Identity
from nearfar.data.record_file import Records, digest
from nearfar.data.samples import Samples
from nearfar.memory import available_memory
from nearfar.modalities.image.decode import Encoded, decode
from nearfar.modalities.image.memory import recycled
from nearfar.modalities.image.pictures import Pictures
from nearfar.progress import track

Squares = NDArray[np.uint8]
T = TypeVar("T")
log = logging.getLogger("nearfar")

_CHUNK = 64
SMALL = 64
"""Pictures of at most this side are quicker decoded than looked up: they are kept in memory only, where they fit."""


@dataclass(frozen=True)
class Form:
    """How pictures are decoded: squares of `size` pixels, their channels, and what grey ones take for `white`."""

    size: int
    channels: int
    white: int | None = None


class Store:
    """The squares of all N pictures of some samples, shared by all sources that show some of them.

    A picture is decoded when it is first fetched, and then kept: small pictures in memory, where they take no more than
    `memory_limit` bytes (None: a quarter of what is free), larger ones in the `cache` on disk (`auto`, `off` or a
    folder), or in memory too where there is no such cache. `grow=False` is for pictures that are gone through once and
    in their order: the cache is only read then.
    """

    def __init__(
        self,
        samples: Samples,
        reading: Reading,
        form: Form,
        *,
        max_pixels: int | None,
        threads: int,
        memory_limit: int | None = None,
        cache: str = "auto",
        grow: bool = True,
    ) -> None:
        self.samples = samples
        self.reading = reading
        self.form = form
        self.max_pixels = max_pixels
        self.threads = threads
        self.memory_limit = memory_limit
        self.cache = cache
        self.grow = grow
        self.aspect = np.ones(len(samples))
        self._identity = Identity(samples, samples.origin)
        self._kept = np.zeros(len(samples), dtype=bool)
        self._chosen = False
        self._memory: Squares | None = None  # [N s s c]; a row is valid where kept
        self._records: Records | None = None
        self._slots = np.zeros(len(samples), dtype=np.int64)  # in the records; valid where kept
        self._lock = threading.Lock()
        self._by_form = {form: self}

    def of(self, form: Form) -> "Store":
        """The store of the same pictures in another form; there is one for each."""
        if form not in self._by_form:
            other = Store(
                self.samples,
                self.reading.with_new_ids(),
                form,
                max_pixels=self.max_pixels,
                threads=self.threads,
                memory_limit=self.memory_limit,
                cache=self.cache,
                grow=self.grow,
            )
            other._by_form = self._by_form
            self._by_form[form] = other
        return self._by_form[form]

    def unkept(self, form: Form) -> "Store":
        """A store of the same pictures in another form that keeps none of them."""
        reading = self.reading.with_new_ids()
        store = Store(
            self.samples, reading, form, max_pixels=self.max_pixels, threads=1, memory_limit=0, cache="off", grow=False
        )
        store._chosen = True
        return store

    def fill(self, rows: Rows, *, sample: Rows) -> None:
        """Make ready for `rows` to be fetched.

        Where pictures are kept, the rows of `sample` are decoded now; and where they grow, all rows of parquet files in
        their order, as another order costs much more. Raises DataError when more than half of the pictures met are
        unreadable.
        """
        self._choose(len(rows))
        if self._memory is None and (self._records is None or not self._records.limit):
            return
        for chunk in track(in_chunks(sample[~self._kept[sample]], _CHUNK * self.threads), "decode"):
            self.fetch(chunk)
        if self.grow and self.samples.contents.in_groups:
            for chunk in track(in_chunks(rows[~self._kept[rows]], _CHUNK * self.threads), "decode"):
                self._fill(chunk, quiet=True)
        self.reading.skipped.sort(key=lambda one: one.key)  # the threads' order is not always the same

    def fetch(self, rows: Rows) -> tuple[Pictures, Rows]:
        """The squares of these rows, and the places in `rows` of those that could be read."""
        self._choose(len(self.samples))
        if self._memory is not None and self._kept[rows].all():
            kept = torch.from_numpy(self._memory.reshape(len(self._memory), -1))
            pixels = recycled(len(rows), kept.shape[1], dtype=torch.uint8)
            torch.index_select(kept, 0, torch.from_numpy(rows), out=pixels)
            pixels = pixels.view(-1, *self._memory.shape[1:]).permute(0, 3, 1, 2)
            return Pictures(pixels, torch.from_numpy(self.aspect[rows]).float()), np.arange(len(rows))
        pixels = self._fill(rows)
        self.reading.check()
        good = np.flatnonzero(~self.reading.unreadable[rows])
        if len(good) < len(rows):
            pixels = pixels[torch.from_numpy(good)]
        return Pictures(pixels, torch.from_numpy(self.aspect[rows[good]]).float()), good

    def _choose(self, count: int) -> None:
        """Choose where `count` pictures are kept, once."""
        with self._lock:
            if not self._chosen:
                self._choose_for(count)
                self._chosen = True

    def _choose_for(self, count: int) -> None:
        size, channels, white = self.form.size, self.form.channels, self.form.white
        bytes_each = channels * size * size
        limit = available_memory() // 4 if self.memory_limit is None else self.memory_limit
        fits = count * bytes_each <= limit
        if not (fits and size <= SMALL) and self.cache != "off" and self._identity.known:
            form = {
                "data": self._identity.place,
                "split": self.samples.split,
                "picture": [size, size, channels],
                "white": white,
                "max_pixels": self.max_pixels,
                "decoder": f"Pillow {PIL.__version__}",
            }
            name = f"{self.samples.name}-{size}px"
            self._records = open_records(self.cache, name, form, size=bytes_each, count=count, grow=self.grow)
        if self._records is None and fits:
            # Pages that nothing is written to cost nothing, so the rows never asked for are free.
            self._memory = np.empty((len(self.samples), size, size, channels), dtype=np.uint8)
        elif self._records is None:
            log.info("pictures take %.1f GB decoded: they are decoded as needed", count * bytes_each / 1e9)

    def _fill(self, rows: Rows, *, quiet: bool = False) -> Tensor:
        """The squares `[n, c, s, s]` of rows, undefined for unreadable ones; those decoded for it are kept.

        Here and wherever they are kept, squares lie in memory as `[s, s, c]`, as PIL makes them and views want them.
        With `quiet`, unreadable ones are not noted yet: they will be when they are wanted.
        """
        size, channels = self.form.size, self.form.channels
        pixels = recycled(len(rows), size, size, channels, dtype=torch.uint8)
        squares: Squares = pixels.numpy()
        wanted = np.flatnonzero(~self.reading.unreadable[rows])
        for place in wanted[self._kept[rows[wanted]]].tolist():
            self._kept[rows[place]] = self._again(int(rows[place]), squares[place])
        new = wanted[~self._kept[rows[wanted]]]

        def first(places: Rows) -> list[tuple[int, int | None]]:
            """The places that had to be decoded, with the names of what was decoded."""
            made = []
            for place in places.tolist():
                row = int(rows[place])
                name = None if self._records is None else self._identity.of(row)  # before it is read: it may change
                if not self._found(row, name, squares[place]) and self._decoded(row, squares[place], quiet):
                    made.append((place, name))
            return made

        step = max(1, min(_CHUNK, -(-len(new) // self.threads)))
        made = [one for some in in_threads(first, in_chunks(new, step), self.threads) for one in some]
        self._keep(rows, made, squares)
        return pixels.permute(0, 3, 1, 2)

    def _again(self, row: int, out: Squares) -> bool:
        """Fill `out` from where the picture is kept; False where it is lost."""
        if self._memory is not None:
            out[:] = self._memory[row]
            return True
        return self._records is not None and self._records.read(int(self._slots[row]), out)

    def _found(self, row: int, name: int | None, out: Squares) -> bool:
        """Fill `out` from what an earlier run has decoded; False where there is nothing."""
        if self._records is None or name is None or (slot := self._records.slot(name)) is None:
            return False
        found = self._records.checked(slot, out)
        if found is None:
            return False
        self.reading.ids[row], self.aspect[row] = found
        self._slots[row] = slot
        self.reading.tried[row] = self._kept[row] = True
        return True

    def _decoded(self, row: int, out: Squares, quiet: bool) -> bool:
        """Decode a picture into `out`; False where it is unreadable."""
        form = self.form
        try:
            given = encoded(self.samples, row)
            square, aspect = decode(
                given, size=form.size, channels=form.channels, max_pixels=self.max_pixels, white=form.white
            )
        except Unreadable as error:
            if not quiet:
                self.reading.refuse(row, str(error))
            return False
        out[:] = square.transpose(1, 2, 0)
        if self.reading.ids[row] == row:  # not known yet
            self.reading.ids[row], self.aspect[row] = digest(out, aspect), aspect
        self.reading.tried[row] = True
        return True

    def _keep(self, rows: Rows, made: list[tuple[int, int | None]], squares: Squares) -> None:
        """Keep what was decoded, where there is room for it."""
        if self._memory is not None:
            places = [place for place, _ in made]
            self._memory[rows[places]] = squares[places]
            self._kept[rows[places]] = True
        elif self._records is not None and self._records.limit:
            named = [(place, name) for place, name in made if name is not None]
            notes = [(int(self.reading.ids[rows[place]]), float(self.aspect[rows[place]])) for place, _ in named]
            try:
                slots = self._records.append([name for _, name in named], [squares[p] for p, _ in named], notes)
            except OSError as error:
                self._records.limit = 0
                log.warning(
                    "No more decoded pictures can be kept (%s): the others are decoded as needed.", reason_of(error)
                )
                return
            for (place, _), slot in zip(named, slots, strict=True):
                if slot is not None:
                    self._slots[rows[place]], self._kept[rows[place]] = slot, True


def encoded(samples: Samples, row: int) -> Encoded:
    """What the decoder gets of a sample: its file, its array, or its bytes. Raises Unreadable."""
    try:
        if (array := samples.array(row)) is not None:
            return array
        path = samples.path(row)
        return samples.bytes(row) if path is None else path
    except OSError as error:
        raise Unreadable(reason_of(error)) from None
