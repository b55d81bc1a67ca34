"""The recipe: which operations a view goes through, and in which order."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.modalities.image.memory import along
from nearfar.modalities.image.options import ImageOptions
from nearfar.modalities.image.views import batched, single
from nearfar.modalities.image.views.colour import colour
from nearfar.modalities.image.views.crop import corners
from nearfar.modalities.image.views.drawing import Drawn, draw
from nearfar.modalities.image.views.marks import moved
from nearfar.modalities.image.views.mask import at_random, covered, inside
from nearfar.modalities.image.views.pieces import by_pieces, one_by_one
from nearfar.modalities.image.views.solarise import solarised
from nearfar.modalities.image.views.turn import turns


class ViewMaker:
    """Makes the views of batches of pictures for an encoder of `size` pixels and given channel statistics."""

    def __init__(self, options: ImageOptions, *, size: int, mean: Tensor, std: Tensor, seed: int) -> None:
        self.options = options
        self.size = size
        self.mean = mean
        self.std = std
        self.seed = seed
        self._low, self._high = -mean / std, (1 - mean) / std  # of values from 0 to 1, once they are normalised

    @torch.no_grad()
    def __call__(self, pixels: Tensor, aspect: Tensor, draws: NDArray[np.int64], view: int, small: bool) -> Tensor:
        """View number `view` of the pictures `[b, c, h, w]`: `[b, c, size, size]` float, normalised.

        Pixels are uint8, or floats from 0 to 255; quickest where their channels are innermost in memory, as those of
        the views are. `aspect` [b] is width / height of the pictures as they were.
        """
        size, drawn = self._drawn(aspect, draws, view, small)
        places = self._places(drawn, aspect, *pixels.shape[-2:])
        # A view made again inside an embed call must not be made in the encoder's arithmetic.
        with torch.autocast(pixels.device.type, enabled=False):
            drawn, places = drawn.to(pixels.device), {name: x.to(pixels.device) for name, x in places.items()}
            matrices, of_means = self._colours(drawn.colours, pixels.shape[1])
            limits = tuple(along(values.to(pixels.device), size) for values in (self._low, self._high))
            if not one_by_one(pixels):
                views = batched.placed(pixels, size=size, **places)
                views = batched.mixed(views, matrices, self._offsets(views, of_means))
                self._finish(views, drawn, limits)
                return views

        def make(part: slice, out: Tensor) -> None:
            with torch.autocast("cpu", enabled=False), torch.no_grad():
                single.placed(pixels[part], out=out, **{name: x[part] for name, x in places.items()})
                single.mixed(out, matrices[part], self._offsets(out, of_means[part]))
                self._finish(out, drawn.part(part), limits)

        return by_pieces(pixels, size, make)

    def marks(
        self, marks: Mapping[str, Tensor], aspect: Tensor, draws: NDArray[np.int64], view: int, small: bool
    ) -> dict[str, Tensor]:
        """What is said of places in the pictures, moved as view number `view` moves these; see `moved`."""
        size, drawn = self._drawn(aspect, draws, view, small)
        return moved(marks, drawn, aspect, size)

    def _drawn(self, aspect: Tensor, draws: NDArray[np.int64], view: int, small: bool) -> tuple[int, Drawn]:
        """The side of a view in pixels, and its parameters."""
        size = small_size(self.options, self.size) if small else self.size
        return size, draw(self.options, aspect, draws, seed=self.seed, view=view, size=size, small=small)

    def _places(self, drawn: Drawn, aspect: Tensor, high: int, wide: int) -> dict[str, Tensor]:
        """Where each view lies in its picture, and how it is blurred: what `placed` is to know."""
        found = {
            "corners": corners(drawn.boxes, high, wide),
            "flipped": drawn.flipped,
            "inverted": drawn.inverted,
            "sigmas": drawn.sigmas,
            "turns": None if drawn.radians is None else turns(drawn.radians, aspect.cpu(), high, wide),
        }
        return {name: values for name, values in found.items() if values is not None}

    def _colours(self, numbers: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        """The matrices of `colour` from values up to 255 to normalised ones, which lack the offset of the latter."""
        options = self.options
        matrices, of_means = colour(
            numbers,
            channels,
            brightness=options.largest("brightness"),
            contrast=options.largest("contrast"),
            saturation=options.largest("saturation"),
            hue=options.largest("hue"),
            jitter=options.jitter or 0,
            greyscale=options.greyscale or 0,
        )
        scale = 255 * self.std.to(numbers)[:, None]
        return matrices / scale, of_means / scale

    def _offsets(self, views: Tensor, of_means: Tensor) -> Tensor:
        """What is added to each colour `[b, c]`: the normalisation's share, and that of each view's mean colour."""
        b, c, high, wide = views.shape
        rows = views.permute(0, 2, 3, 1).reshape(b, high, wide * c)
        means = rows.mean(1).view(b, wide, c).mean(1)
        return torch.baddbmm(self._low.to(views)[:, None], of_means, means[:, :, None])[:, :, 0]

    def _finish(self, views: Tensor, drawn: Drawn, limits: tuple[Tensor, ...]) -> None:
        """Clamp normalised views to what pixels may be; solarise, cut out and mask some of them."""
        torch.clamp(views, *limits, out=views)
        options = self.options
        high_px, wide_px = views.shape[-2:]
        low, high = self._low.to(views), self._high.to(views)
        fill = low if options.mask_fill == "black" else torch.zeros_like(low)
        if some := _chosen(drawn.solarised):
            views[some] = solarised(views[some], low, high, options.solarise_from)
        if (some := _chosen(drawn.cut)) and drawn.cutouts is not None:
            views[some] = covered(views[some], inside(drawn.cutouts[some], high_px, wide_px), fill, 1.0)
        if some := _chosen(drawn.masked):
            if drawn.masks is not None:
                where = inside(drawn.masks[some], high_px, wide_px)
            else:
                assert drawn.pixels is not None
                where = at_random(drawn.pixels[some], high_px, wide_px, options.mask_ratio)
            views[some] = covered(views[some], where, fill, options.mask_alpha)


def small_size(options: ImageOptions, size: int) -> int:
    """The side of small views in pixels: a share of the wide views' `size`, a multiple of 8."""
    return max(8, 8 * round(options.small_size * size / 8))


def _chosen(rows: Tensor | None) -> list[int]:
    return [] if rows is None else rows.nonzero()[:, 0].tolist()
