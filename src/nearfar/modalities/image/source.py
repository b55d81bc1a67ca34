"""Images as a source of training: looked over, decoded once, fetched by row."""

import io
import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.contract import Card, Reading, Rows, Skipped, Source, Unreadable
from nearfar.data.kept import in_chunks, in_threads
from nearfar.data.samples import Samples
from nearfar.modalities.image.decode import Header, brightest, header, white_level
from nearfar.modalities.image.options import MAX_PIXELS
from nearfar.modalities.image.pictures import Pictures
from nearfar.modalities.image.store import SMALL, Form, Store

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ImageSource", "image_source", "thumbnail"]

_SCANNED = 2_000
_SAMPLED = 500  # of larger pictures fewer are decoded at first: training can begin
_TRIED = 64  # of pictures that are gone through once fewer still: enough to see whether they can be read
_DEEP_SCANNED = 64
_TINY = 64
"""Pictures of at most this short side are decoded by one thread: two on two cores wait for the interpreter's lock most
of the time, and were measured to decode 7,300 pictures of 32 pixels a second where one decodes 10,400."""
_LARGE = 224
"""Pictures are read with at most this side where no encoder asks for another."""
_THUMBNAIL = 96
_SHARP = 320
_FEW = 8
"""So few pictures are shown in up to `_SHARP` pixels, read anew; more of them as they are kept."""
_BASELINE = 32
_ONE_COLOUR = 3
"""Of 255: as far as compression alone takes the pixels of one colour."""


class ImageSource(Source):
    """Pictures read by row.

    `channels` is 1 where all pictures looked at are grey, else 3, or what most arrays have; `short_side` the median of
    their shorter sides in pixels; `white` the largest value of pictures with more than 8 bits, None where none has.
    """

    def __init__(self, store: Store, *, channels: int, short_side: int, white: int | None) -> None:
        super().__init__(store.samples, store.reading)
        self.store = store
        self.channels = channels
        self.short_side = short_side
        self.white = white

    def suited(self, config: Mapping[str, Any]) -> "ImageSource":
        """The pictures as an encoder of this `config` needs them; some are decoded now, the others as they are fetched.

        `config` has `stored_size` (or `image_size`) in pixels, and may have `channels` and `white`. Raises DataError
        when more than half of those decoded are unreadable.
        """
        size = config.get("stored_size") or config["image_size"]
        form = Form(int(size), int(config.get("channels") or self.channels), config.get("white") or self.white)
        some = copy(self)
        some.store = self.store.of(form)
        some.reading = some.store.reading
        for one in (some, some.positives, some.negatives):
            if isinstance(one, ImageSource):
                one.store.fill(one.at, sample=one.at[one.sample])
        return some

    @property
    def sample(self) -> Rows:
        """The rows that are decoded first, evenly spread as far as reading them stays cheap."""
        most = _TRIED if not self.store.grow else _SCANNED if self.store.form.size <= SMALL else _SAMPLED
        return self.samples.probe(most)

    def fetch(self, rows: Rows) -> tuple[Pictures, Rows]:
        """These pictures as squares, and the rows that are in the batch: unreadable ones are left out and listed."""
        wanted = np.asarray(rows, dtype=np.int64)
        pictures, places = self.store.fetch(self.at[wanted])
        kept = wanted[places]
        if self.annotations is None or not len(kept):
            return pictures, kept
        marks, sound = self.annotations.batch(self.at[kept], pictures.aspect.tolist(), pictures.pixels.shape[-1])
        if len(sound) < len(kept):
            pictures, kept = pictures[torch.from_numpy(sound)], kept[sound]
        return replace(pictures, marks=marks), kept

    def defects(self, rows: Rows) -> list[Skipped]:
        """Pictures that show nothing: all of one colour."""
        found = []
        for start in range(0, len(rows), 1024):
            pictures, kept = self.fetch(rows[start : start + 1024])
            pixels = pictures.pixels.flatten(2)
            spread = (pixels.amax(2) - pixels.amin(2)).amax(1)
            found += [
                Skipped(self.keys[row], "all of one colour")
                for row, least in zip(kept.tolist(), spread.tolist(), strict=True)
                if least <= _ONE_COLOUR
            ]
        return found

    def vectors(self) -> Tensor:
        """The pixels of the `usable` pictures [M, D] float32 in [0, 1], averaged to at most 32 pixels a side."""
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
        """Key, label and the picture in its own shape: of at most 96 pixels a side, a few of at most 320."""
        cards = super().cards(rows)
        store, side = self.store, min(_SHARP, self.short_side)
        if len(rows) <= _FEW and side > store.form.size:
            store = store.unkept(replace(store.form, size=side))
        pictures, places = store.fetch(self.at[np.asarray(rows, dtype=np.int64)])
        squares, aspect = pictures.pixels.numpy(), pictures.aspect.tolist()
        longest = _SHARP if len(rows) <= _FEW else _THUMBNAIL
        shown = {int(rows[place]): thumbnail(squares[i], aspect[i], longest) for i, place in enumerate(places.tolist())}
        return [replace(card, image=shown.get(int(row))) for card, row in zip(cards, rows, strict=True)]

    def annotated_card(self, row: int, annotation: Mapping[str, Any]) -> Card:
        """The picture with a mask `[h, w]`, or with `boxes` and `labels` as `marks` has them, over it."""
        from nearfar.modalities.image.annotations.drawn import over

        store = self.store.unkept(replace(self.store.form, size=min(_SHARP, max(self.short_side, 8))))
        pictures, places = store.fetch(self.at[np.array([row])])
        if not len(places):
            return Card(key=self.keys[row])
        shape = pictures.in_shape()[0].numpy()
        annotation = dict(annotation)
        if "boxes" in annotation:
            annotation["boxes"] = annotation["boxes"] * np.array([shape.shape[2], shape.shape[1]] * 2)
        return Card(key=self.keys[row], image=encoded(over(shape, annotation)))


def image_source(
    samples: Samples,
    *,
    max_pixels: int | None = None,
    threads: int | None = None,
    memory_limit: int | None = None,
    cache: str = "auto",
    grow: bool = True,
) -> ImageSource:
    """The pictures of these samples, once the headers of up to 2,000 of them, evenly spread, were looked over.

    Where decoded pictures are kept, `memory_limit`, `cache` and `grow` say: see `Store`. Raises DataError where more
    than half is unreadable.
    """
    reading = Reading(samples)
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    rows = samples.probe(_SCANNED)
    headers = _scan(samples, reading, rows, limit, threads or _threads())
    reading.check_share(len(rows) - len(headers), len(rows))
    deep = np.array([row for row, found in headers.items() if found.deep], dtype=np.int64)
    short_side = int(np.median([min(found.width, found.height) for found in headers.values()] or [_BASELINE]))
    channels = _channels([found.channels for found in headers.values()])
    white = _white(samples, reading, deep, limit)
    store = Store(
        samples,
        reading,
        Form(min(short_side, _LARGE), channels, white),
        max_pixels=limit,
        threads=1 if short_side <= _TINY else threads or _threads(),
        memory_limit=memory_limit,
        cache=cache,
        grow=grow,
    )
    return ImageSource(store, channels=channels, short_side=short_side, white=white)


def thumbnail(square: NDArray[np.uint8], aspect: float, longest: int = _THUMBNAIL) -> bytes:
    """A square uint8 `[c, s, s]` in its own shape, encoded: PNG for small ones, whose pixels one sees, else WebP."""
    from PIL import Image

    square = square if len(square) in (1, 3) else square[: 3 if len(square) > 3 else 1]  # what can be shown
    longest = min(longest, square.shape[-1])
    width, height = (longest, round(longest / aspect)) if aspect >= 1 else (round(longest * aspect), longest)
    shape = (max(1, width), max(1, height))
    image = Image.fromarray(square[0] if len(square) == 1 else np.ascontiguousarray(square.transpose(1, 2, 0)))
    if image.size != shape:
        image = image.resize(shape, Image.Resampling.BICUBIC)
    return _encoded(image, plain=longest <= _BASELINE)


def encoded(picture: NDArray[np.uint8]) -> bytes:
    """A picture uint8 `[3, h, w]`, encoded."""
    from PIL import Image

    return _encoded(Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))), plain=False)


def _encoded(image: "Image", *, plain: bool) -> bytes:
    """The bytes of a PNG where the picture is a `plain` one, else of a WebP."""
    file = io.BytesIO()
    if plain:
        image.save(file, "PNG")
    else:
        image.save(file, "WEBP", quality=80, method=2)
    return file.getvalue()


def _scan(samples: Samples, reading: Reading, rows: Rows, limit: int, threads: int) -> dict[int, Header]:
    """The headers that can be read, by row; the other pictures are refused."""

    def read(chunk: Rows) -> list[tuple[int, Header]]:
        found = []
        for row in chunk.tolist():
            try:
                found.append((row, header(samples.given(row), max_pixels=limit)))
            except Unreadable as error:
                reading.refuse(row, str(error))
        return found

    headers = {row: one for some in in_threads(read, in_chunks(rows, 64), threads) for row, one in some}
    reading.tried[rows] = True
    reading.skipped.sort(key=lambda one: one.key)
    return headers


def _channels(found: Sequence[int]) -> int:
    """1 where all pictures are grey, 3 where some have colours, or the number that most of them have beyond that."""
    if set(found) <= {1, 3}:
        return 1 if 3 not in found else 3
    return max(set(found), key=found.count)


def _white(samples: Samples, reading: Reading, deep: Rows, limit: int) -> int | None:
    """The white level of grey pictures with more than 8 bits, from up to 64 of them."""
    largest = 0
    for row in deep[:: -(-len(deep) // _DEEP_SCANNED) or 1].tolist():
        try:
            largest = max(largest, brightest(samples.given(row), max_pixels=limit))
        except Unreadable as error:
            reading.refuse(row, str(error))
    if largest == 1:  # floats from 0 to 1
        return 1
    return white_level(largest) if largest > 0 else None


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
