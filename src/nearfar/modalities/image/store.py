"""Decoded squares of pictures: each is decoded once, and kept in memory or in the cache on disk."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.contract import Reading, Rows, Unreadable
from nearfar.data.kept import CHUNK, Kept, in_chunks
from nearfar.data.record_file import digest
from nearfar.data.samples import Samples
from nearfar.modalities.image.decode import decode
from nearfar.modalities.image.memory import recycled
from nearfar.modalities.image.pictures import Pictures
from nearfar.progress import track

Squares = NDArray[np.uint8]

SMALL = 64
"""Pictures of at most this side are quicker decoded than looked up: they are kept in memory only, where they fit."""


@dataclass(frozen=True)
class Form:
    """How pictures are decoded: squares of `size` pixels, their channels, and what grey ones take for `white`."""

    size: int
    channels: int
    white: int | None = None


class Store(Kept):
    """The squares of all N pictures of some samples, shared by all sources that show some of them.

    A picture is decoded when it is first fetched; its note is its aspect. `grow=False` is for pictures that are gone
    through once and in their order. `how` are the further arguments of `Kept`.
    """

    def __init__(
        self, samples: Samples, reading: Reading, form: Form, *, max_pixels: int | None, threads: int, **how: Any
    ) -> None:
        super().__init__(samples, reading, threads=threads, **how)
        self.form = form
        self.max_pixels = max_pixels
        self._chosen = False
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
        for chunk in track(in_chunks(sample[~self._kept[sample]], CHUNK * self.threads), "decode"):
            self.fetch(chunk)
        if self.grow and self.samples.contents.in_groups:
            for chunk in track(in_chunks(rows[~self._kept[rows]], CHUNK * self.threads), "decode"):
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
            return Pictures(pixels, torch.from_numpy(self.notes[rows]).float()), np.arange(len(rows))
        pixels = self._fill(rows)
        self.reading.check()
        good = np.flatnonzero(~self.reading.unreadable[rows])
        if len(good) < len(rows):
            pixels = pixels[torch.from_numpy(good)]
        return Pictures(pixels, torch.from_numpy(self.notes[rows[good]]).float()), good

    def _choose(self, count: int) -> None:
        """Choose where `count` pictures are kept, once."""
        with self._lock:
            if not self._chosen:
                self._choose_for(count)
                self._chosen = True

    def _choose_for(self, count: int) -> None:
        size, channels = self.form.size, self.form.channels
        about = {
            "picture": [size, size, channels],
            "white": self.form.white,
            "max_pixels": self.max_pixels,
            "decoder": f"Pillow {PIL.__version__}",
        }
        self._open(count, (size, size, channels), about, f"{self.samples.name}-{size}px", quick=size <= SMALL)

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
        self._fill_new(rows, new, squares, lambda row, out: self._decoded(row, out, quiet))
        return pixels.permute(0, 3, 1, 2)

    def _decoded(self, row: int, out: Squares, quiet: bool) -> bool:
        """Decode a picture into `out`; False where it is unreadable."""
        form = self.form
        try:
            given = self.samples.given(row)
            square, aspect = decode(
                given, size=form.size, channels=form.channels, max_pixels=self.max_pixels, white=form.white
            )
        except Unreadable as error:
            if not quiet:
                self.reading.refuse(row, str(error))
            return False
        out[:] = square.transpose(1, 2, 0)
        if self.reading.ids[row] == row:  # not known yet
            self.reading.ids[row], self.notes[row] = digest(out, aspect), aspect
        self.reading.tried[row] = True
        return True
