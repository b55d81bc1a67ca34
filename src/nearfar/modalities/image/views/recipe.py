"""The recipe: which operations a view goes through, and in which order."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.modalities.image.memory import along
from nearfar.modalities.image.options import ImageOptions
from nearfar.modalities.image.views.colour import colour, mixed
from nearfar.modalities.image.views.crop import cropped
from nearfar.modalities.image.views.drawing import Drawn, draw
from nearfar.modalities.image.views.mask import at_random, covered, inside
from nearfar.modalities.image.views.pieces import by_pieces
from nearfar.modalities.image.views.solarise import solarised
from nearfar.modalities.image.views.turn import turn


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
        size = small_size(self.options, self.size) if small else self.size
        drawn = draw(self.options, aspect, draws, seed=self.seed, view=view, size=size, small=small)
        with torch.autocast(pixels.device.type, enabled=False):
            matrices, of_means = self._colours(drawn.colours.to(pixels.device), pixels.shape[1])

        def make(part: slice, out: Tensor) -> None:
            # A view made again inside an embed call must not be made in the encoder's arithmetic.
            with torch.autocast(pixels.device.type, enabled=False), torch.no_grad():
                own = drawn.part(part, pixels.device)
                found = self._placed(pixels[part], aspect[part], own, size)
                self._colour(found, matrices[part], of_means[part], out)
                self._cover(out, own)

        return by_pieces(pixels, size, make)

    def _placed(self, pixels: Tensor, aspect: Tensor, drawn: Drawn, size: int) -> Tensor:
        """Views turned, cropped, resized, flipped and blurred, from 0 to 255."""
        source = pixels if drawn.radians is None else turn(pixels.float(), drawn.radians, aspect.to(drawn.radians))
        return cropped(source, drawn.boxes, size, flipped=drawn.flipped, inverted=drawn.inverted, sigmas=drawn.sigmas)

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

    def _colour(self, found: Tensor, matrices: Tensor, of_means: Tensor, out: Tensor) -> None:
        """Fill `out` with views `[b, c, h, w]` whose colours are changed, clamped and normalised."""
        b, c, high, wide = found.shape
        rows = found.permute(0, 2, 3, 1).view(b, high, wide * c)
        means = rows.mean(1).view(b, wide, c).mean(1)
        low, upper = self._low.to(found), self._high.to(found)
        offsets = torch.baddbmm(low[:, None], of_means, means[:, :, None])[:, :, 0]
        mixed(found, matrices, offsets, out)
        torch.clamp(out, along(low, wide), along(upper, wide), out=out)

    def _cover(self, views: Tensor, drawn: Drawn) -> None:
        """Solarise, cut out and mask some of the normalised views; the others are not touched."""
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
