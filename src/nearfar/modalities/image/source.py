"""Images as a source of training: found, looked over, decoded once, fetched by row."""

import io
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.contract import Card, Shards
from nearfar.data.reader import Samples, open_samples, parse_data
from nearfar.data.samples import with_others
from nearfar.errors import DataError
from nearfar.modalities.image.decode import EXTENSIONS, Header, Unreadable, brightest, decode, header, white_level
from nearfar.modalities.image.digits import digits
from nearfar.modalities.image.options import MAX_PIXELS
from nearfar.modalities.image.pictures import Pictures
from nearfar.modalities.image.store import SMALL, Store, encoded, in_threads, mostly_unreadable

__all__ = ["BUILTINS", "COLUMNS", "ImageSource", "Pictures", "open_images", "thumbnail"]

Rows = NDArray[np.int64]

COLUMNS = ("image", "path", "file", "filepath", "filename", "img")
"""Names of a manifest's column of images; the first one present is taken."""

BUILTINS = frozenset({"digits"})
"""Data that comes with the package; `./digits` is a folder of that name."""

_SCANNED = 2_000
_SAMPLED = 500  # of larger pictures fewer are decoded at first: training can begin
_TRIED = 64  # of pictures that are gone through once fewer still: enough to see whether they can be read
_DEEP_SCANNED = 64
_TINY = 64
"""Pictures of at most this short side are decoded by one thread: two on two cores wait for the interpreter's lock most
of the time, and were measured to decode 7,300 pictures of 32 pixels a second where one decodes 10,400."""
_THUMBNAIL = 64
_BASELINE = 32


class ImageSource:
    """Pictures read by row, as contract.Source has it.

    `channels` is 1 where all pictures looked at are grey, else 3; `short_side` the median of their shorter sides in
    pixels; `white` the largest value of grey pictures with more than 8 bits, None where there are none. `sample` are
    the rows that `load` decoded, evenly spread. `partners` say which picture of the store is the positive of each,
    and `opposites` which the negative. `skipped` is shared by all sources taken from one another.
    """

    def __init__(
        self,
        store: Store,
        rows: Rows,
        *,
        channels: int,
        short_side: int,
        white: int | None,
        least: int = 0,
        partners: Rows | None = None,
        opposites: Rows | None = None,
    ) -> None:
        self.store = store
        self.rows = rows
        self.channels = channels
        self.short_side = short_side
        self.white = white
        self.least = least
        self.partners = partners
        self.opposites = opposites
        self.name = store.listing.name
        self.label_names: Sequence[str] = store.listing.label_names
        self.skipped = store.skipped
        self.sample: Rows = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def keys(self) -> Sequence[str]:
        """The samples' keys [N]."""
        return self.store.listing.keys.take(self.rows)

    @cached_property
    def listing(self) -> Samples:
        """The samples as they were found: split, domains, positives."""
        return self.store.listing.take(self.rows)

    @property
    def labels(self) -> Rows | None:
        """Class numbers [N] into `label_names`, -1 where a sample has none; None where none has."""
        labels = self.store.listing.labels
        return None if labels is None else labels[self.rows]

    @property
    def groups(self) -> Rows | None:
        """[N]: equal for samples that the user says belong together; None where nothing is said."""
        groups = self.store.listing.groups
        return None if groups is None else groups[self.rows]

    @property
    def ids(self) -> Rows:
        """[N]: equal for pictures that are equal once decoded; row numbers of those not fetched yet."""
        ids: Rows = self.store.ids[self.rows]
        return ids

    @property
    def positives(self) -> "ImageSource | None":
        """[N]: the picture in the column `positive` of each, itself where there is none; None without such a column."""
        return self._beside(self.partners)

    @property
    def negatives(self) -> "ImageSource | None":
        """[N]: the picture in the column `negative` of each, itself where there is none; None without such a column."""
        return self._beside(self.opposites)

    @property
    def shards(self) -> Shards | None:
        """The tar files or row groups that the pictures lie in; None for files of their own."""
        numbers = self.store.listing.shards
        return None if numbers is None else Shards(numbers[self.rows], self.store.listing.size)

    @property
    def usable(self) -> Rows:
        """The rows not found unreadable so far, in order."""
        return np.flatnonzero(~self.store.bad[self.rows])

    def load(self, config: Mapping[str, Any]) -> None:
        """Find what was decoded before, and decode a `sample`; the others are decoded as they are fetched.

        `config` has `stored_size` (or `image_size`) in pixels, and may have `channels` and `white`. Raises DataError
        when more than half of them, or all but `least` - 1, are unreadable.
        """
        size = config.get("stored_size") or config["image_size"]
        channels = config.get("channels") or self.channels
        white = config.get("white") or self.white
        most = _SCANNED if int(size) <= SMALL else _SAMPLED
        self.sample = self.listing.probe(most if self.store.grow else _TRIED)
        self.store.load(self.rows, int(size), int(channels), white, sample=self.rows[self.sample])
        _check_enough(self.name, len(self.usable), self.least)

    def fetch(self, rows: Rows) -> tuple[Pictures, Rows]:
        """These pictures as squares, and the rows that are in the batch: unreadable ones are left out and listed."""
        wanted = np.asarray(rows, dtype=np.int64)
        pictures, places = self.store.fetch(self.rows[wanted])
        return pictures, wanted[places]

    def take(self, rows: Rows) -> "ImageSource":
        """The same pictures, these rows only; what is decoded is shared."""
        return self._of(self.rows[np.asarray(rows, dtype=np.int64)])

    def _beside(self, others: Rows | None) -> "ImageSource | None":
        if others is None:
            return None
        rows = others[self.rows]
        return self._of(np.where(self.store.bad[rows], self.rows, rows))

    def _of(self, rows: Rows) -> "ImageSource":
        return ImageSource(
            self.store,
            rows,
            channels=self.channels,
            short_side=self.short_side,
            white=self.white,
            partners=self.partners,
            opposites=self.opposites,
        )

    def vectors(self) -> Tensor:
        """The pixels of the pictures [N, D] float32 in [0, 1], averaged to squares of at most 32 pixels a side.

        Unreadable pictures are left out: row i belongs to `usable[i]`, asked for afterwards.
        """
        if self.store.form is None:
            self.load({"stored_size": _BASELINE})
        vectors, filled = torch.empty(0), 0
        for start in range(0, len(self), 1024):
            pictures, _ = self.fetch(np.arange(start, min(start + 1024, len(self))))
            pixels = pictures.pixels
            if pixels.shape[-1] > _BASELINE:
                pixels = torch.nn.functional.interpolate(pixels.float(), size=_BASELINE, mode="area")
            if not start:
                vectors = torch.empty(len(self), pixels.shape[1:].numel())
            torch.div(pixels.flatten(1), 255, out=vectors[filled : filled + len(pixels)])
            filled += len(pixels)
        return vectors[:filled]

    def cards(self, rows: Rows) -> list[Card]:
        """Key, label and a thumbnail of at most 64 pixels a side, in the picture's own shape."""
        labels = self.labels
        found = []
        for row in np.asarray(rows, dtype=np.int64):
            label = None if labels is None or labels[row] < 0 else self.label_names[labels[row]]
            found.append(Card(key=self.keys[row], label=label, image=self._thumbnail(int(row))))
        return found

    def _thumbnail(self, row: int) -> bytes | None:
        if self.store.form is not None:
            pictures, kept = self.fetch(np.array([row]))
            if not len(kept):
                return None
            square, aspect = pictures.pixels[0].numpy(), float(pictures.aspect[0])
        else:
            try:
                given = encoded(self.store.listing, int(self.rows[row]))
                square, aspect = decode(
                    given,
                    size=_THUMBNAIL,
                    channels=self.channels,
                    max_pixels=self.store.max_pixels,
                    white=self.white,
                )
            except Unreadable as error:
                self.store.refuse(int(self.rows[row]), str(error))
                return None
        return thumbnail(square, aspect)


def open_images(
    data: str,
    *,
    max_pixels: int | None = MAX_PIXELS,
    threads: int | None = None,
    split: str | None = None,
    least: int = 2,
    memory_limit: int | None = None,
    cache: str = "auto",
    grow: bool = True,
) -> ImageSource:
    """Find the pictures of DATA and look over the headers of up to 2,000 of them, evenly spread.

    `least` is how many readable ones are needed (training: two). Where decoded pictures are kept, `memory_limit`,
    `cache` and `grow` say: see `Store`. Raises DataError where nothing is found or more than half is unreadable.
    """
    path, asked = parse_data(data, builtins=BUILTINS)
    if path in BUILTINS:
        listing = digits(split or asked)
    else:
        listing = open_samples(data, extensions=EXTENSIONS, columns=COLUMNS, split=split, builtins=BUILTINS)
    _check_enough(listing.name, len(listing), least)
    samples, partners, opposites = len(listing), None, None
    if listing.positives is not None or listing.negatives is not None:
        listing, partners, opposites = with_others(listing)
    store = Store(
        listing,
        max_pixels=max_pixels,
        threads=threads or _threads(),
        memory_limit=memory_limit,
        cache=cache,
        grow=grow,
        data=path,
    )
    rows = listing.probe(_SCANNED)
    headers = _scan(store, rows)
    bad = len(rows) - len(headers)
    if bad > len(rows) / 2:
        raise DataError(mostly_unreadable(listing.name, bad, len(rows), store.skipped))
    if len(rows) == len(listing):
        _check_enough(listing.name, len(headers), least)
    deep = np.array([row for row, found in headers.items() if found.deep], dtype=np.int64)
    short_side = int(np.median([min(found.width, found.height) for found in headers.values()]))
    if short_side <= _TINY:
        store.threads = 1
    return ImageSource(
        store,
        np.arange(samples),
        partners=partners,
        opposites=opposites,
        channels=1 if all(found.channels == 1 for found in headers.values()) else 3,
        short_side=short_side,
        white=_white(store, deep),
        least=least,
    )


def thumbnail(square: NDArray[np.uint8], aspect: float) -> bytes:
    """A square uint8 `[c, s, s]` in its own shape, encoded: PNG for small ones, whose pixels one sees, else JPEG."""
    from PIL import Image

    longest = min(_THUMBNAIL, square.shape[-1])
    width, height = (longest, round(longest / aspect)) if aspect >= 1 else (round(longest * aspect), longest)
    shape = (max(1, width), max(1, height))
    image = Image.fromarray(square[0] if len(square) == 1 else np.ascontiguousarray(square.transpose(1, 2, 0)))
    if image.size != shape:
        image = image.resize(shape, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    if longest <= _BASELINE:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=85)
    return file.getvalue()


def _scan(store: Store, rows: Rows) -> dict[int, Header]:
    """The headers that can be read, by row; the other pictures are refused."""

    def read(chunk: Rows) -> list[tuple[int, Header]]:
        found = []
        for row in chunk.tolist():
            try:
                found.append((row, header(encoded(store.listing, row), max_pixels=store.max_pixels)))
            except Unreadable as error:
                store.refuse(row, str(error))
        return found

    chunks = [rows[i : i + 64] for i in range(0, len(rows), 64)]
    headers = {row: one for some in in_threads(read, chunks, store.threads) for row, one in some}
    store.met[rows] = True
    store.skipped.sort(key=lambda one: one.key)
    return headers


def _white(store: Store, deep: Rows) -> int | None:
    """The white level of grey pictures with more than 8 bits, from up to 64 of them."""
    largest = 0
    for row in deep[:: -(-len(deep) // _DEEP_SCANNED) or 1].tolist():
        try:
            largest = max(largest, brightest(encoded(store.listing, row), max_pixels=store.max_pixels))
        except Unreadable as error:
            store.refuse(row, str(error))
    return white_level(largest) if largest > 0 else None


def _check_enough(name: str, readable: int, least: int) -> None:
    if readable >= least:
        return
    if readable == 0:
        raise DataError(f"None of the images of {name!r} can be read.")
    count = "one readable image" if readable == 1 else f"{readable} readable images"
    raise DataError(f"{name!r} has {count}, and {least} are needed: a contrast needs at least two.")


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
