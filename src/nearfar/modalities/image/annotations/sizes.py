"""How large pictures are, in pixels as they are displayed: what predictions of places in them are said in."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from nearfar.contract import Annotations, Rows, Unreadable, Wanted
from nearfar.data.samples import Samples
from nearfar.errors import DataError
from nearfar.modalities.image.decode import header
from nearfar.modalities.image.source import ImageSource


class Sizes(Annotations):
    """Of all pictures, read from their headers when they are asked for; and their `ids` by their places, if any."""

    def __init__(self, source: ImageSource, ids: Mapping[int, int]) -> None:
        super().__init__("sizes", (), np.ones(len(source.whole), dtype=bool))
        self._ids = ids
        self._samples, self._limit = source.whole, source.store.max_pixels

    def read(self, place: int) -> tuple[int, int]:
        """Height and width; raises Unreadable."""
        return size_of(self._samples, place, self._limit)

    def batch(self, places: Rows, aspects: Sequence[float], size: int) -> tuple[Mapping[str, Tensor], Rows]:
        """`size` int64 [b, 2], height and width, and `id` int64 [b], -1 where the data has none."""
        found = torch.tensor([self.read(place) for place in places.tolist()], dtype=torch.int64).reshape(-1, 2)
        ids = torch.tensor([self._ids.get(place, -1) for place in places.tolist()], dtype=torch.int64)
        return {"size": found, "id": ids}, np.arange(len(places))


def size_of(samples: Samples, place: int, limit: int | None) -> tuple[int, int]:
    """Height and width of a picture by its header; raises Unreadable."""
    found = header(samples.given(place), max_pixels=limit)
    return found.height, found.width


def check_aspect(size: tuple[int, int], aspect: float) -> None:
    """Raise Unreadable where an annotation of a picture of this height and width is one of another shape."""
    high, wide = size
    # A pixel more or less is a matter of rounding; a turned picture is not.
    if abs(wide / high / aspect - 1) > max(0.02, 1.5 / min(high, wide)):
        raise Unreadable(f"annotated as {wide} x {high} pixels, which is not the shape of the picture")


def of(source: ImageSource, wanted: Wanted) -> Sizes:
    """The sizes of a source's pictures, and the ids that COCO files beside them give them."""
    from nearfar.modalities.image.annotations import coco

    ids: Mapping[int, int] = {}
    if documents := coco.files(source.whole.origin):
        with suppress(DataError):  # whatever lies there, sizes are known
            ids = coco.read(source, documents).ids
    return Sizes(source, ids)
