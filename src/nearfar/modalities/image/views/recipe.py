"""The recipe: which operations a view goes through, and in which order."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.modalities.image.options import ImageOptions
from nearfar.modalities.image.views.colour import colour
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
        self._bounds = list(zip(self._low.tolist(), self._high.tolist(), strict=True))

    @torch.no_grad()
    def __call__(self, pixels: Tensor, aspect: Tensor, draws: NDArray[np.int64], view: int, small: bool) -> Tensor:
        """View number `view` of the pictures `[b, c, h, w]`: `[b, c, size, size]` float, normalised.

        Pixels are uint8, or floats from 0 to 255. `aspect` [b] is width / height of the pictures as they were.
        """
        size = small_size(self.options, self.size) if small else self.size
        drawn = draw(self.options, aspect, draws, seed=self.seed, view=view, size=size, small=small)

        def made(part: slice) -> Tensor:
            # A view made again inside an embed call must not be made in the encoder's arithmetic.
            with torch.autocast(pixels.device.type, enabled=False), torch.no_grad():
                own = drawn.part(part, pixels.device)
                found = self._placed(pixels[part], aspect[part], own, size)
                return self._covered(self._coloured(found, own.colours), own)

        return by_pieces(pixels, size, made)

    def _placed(self, pixels: Tensor, aspect: Tensor, drawn: Drawn, size: int) -> Tensor:
        """Views turned, cropped, resized, flipped and blurred, from 0 to 255."""
        source = pixels if drawn.radians is None else turn(pixels.float(), drawn.radians, aspect.to(drawn.radians))
        return cropped(source, drawn.boxes, size, flipped=drawn.flipped, inverted=drawn.inverted, sigmas=drawn.sigmas)

    def _coloured(self, found: Tensor, numbers: Tensor) -> Tensor:
        """Views `[b, c, h, w]` in [0, 255] with their colours changed, clamped and normalised."""
        options = self.options
        flat = found.flatten(2)
        mean, std = self.mean.to(found), self.std.to(found)
        matrix, offset = colour(
            numbers,
            flat.mean(2) / 255,
            brightness=options.largest("brightness"),
            contrast=options.largest("contrast"),
            saturation=options.largest("saturation"),
            hue=options.largest("hue"),
            jitter=options.jitter or 0,
            greyscale=options.greyscale or 0,
        )
        matrix = matrix / (255 * std[:, None])
        offset = (offset - mean) / std
        out = torch.baddbmm(offset[:, :, None], matrix, flat)
        for channel, (low, high) in zip(out.unbind(1), self._bounds, strict=True):
            channel.clamp_(low, high)
        return out.view(found.shape)

    def _covered(self, views: Tensor, drawn: Drawn) -> Tensor:
        """Normalised views, some of them solarised, cut out and masked; the others are not touched."""
        options = self.options
        high_px, wide_px = views.shape[-2:]
        if drawn.solarised is drawn.cut is drawn.masked is None:
            return views
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
        return views


def small_size(options: ImageOptions, size: int) -> int:
    """The side of small views in pixels: a share of the wide views' `size`, a multiple of 8."""
    return max(8, 8 * round(options.small_size * size / 8))


def _chosen(rows: Tensor | None) -> list[int]:
    return [] if rows is None else rows.nonzero()[:, 0].tolist()
