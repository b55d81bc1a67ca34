"""The recipe: which operations a view goes through, in which order, with which numbers."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar import randomness
from nearfar.modalities.image.options import ImageOptions
from nearfar.modalities.image.views import mask
from nearfar.modalities.image.views.colour import colour
from nearfar.modalities.image.views.crop import crop_boxes, cropped
from nearfar.modalities.image.views.pieces import by_pieces
from nearfar.modalities.image.views.solarise import solarised
from nearfar.modalities.image.views.turn import turn

_TRIES = 10  # as torchvision's RandomResizedCrop, before it falls back to the centre
_BOX = 2 * _TRIES + 2
_LEAST_SMALL = 0.05  # the least share of the area that a small view shows, as in DINO


class ViewMaker:
    """Makes the views of batches of pictures for an encoder of `size` pixels and given channel statistics."""

    def __init__(self, options: ImageOptions, *, size: int, mean: Tensor, std: Tensor, seed: int) -> None:
        self.options = options
        self.size = size
        self.mean = mean
        self.std = std
        self.seed = seed
        self._low, self._high = -mean / std, (1 - mean) / std
        self._bounds = list(zip(self._low.tolist(), self._high.tolist(), strict=True))

    @torch.no_grad()
    def __call__(self, pixels: Tensor, aspect: Tensor, draws: NDArray[np.int64], view: int, small: bool) -> Tensor:
        """View number `view` of the pictures `[b, c, h, w]`: `[b, c, size, size]` float, normalised.

        Pixels are uint8, or floats from 0 to 255. `aspect` [b] is width / height of the pictures as they were.
        """
        size = small_size(self.options, self.size) if small else self.size

        def made(part: slice) -> Tensor:
            # A view made again inside an embed call must not be made in the encoder's arithmetic.
            with torch.autocast(pixels.device.type, enabled=False), torch.no_grad():
                placed = self._placed(pixels[part], aspect[part], draws[part], view, size, small)
                return self._covered(placed, draws[part], view)

        return by_pieces(pixels, size, made)

    def _placed(
        self, pixels: Tensor, aspect: Tensor, draws: NDArray[np.int64], view: int, size: int, small: bool
    ) -> Tensor:
        """Views turned, cropped, resized, flipped, blurred, coloured and normalised."""
        options = self.options
        numbers = randomness.uniform(self.seed, "image views", draws, _BOX + 10, view)
        lowest = options.crop_scale or 1.0
        scale = (lowest, 1.0)
        if small:  # multi-crop (Caron et al. 2020, SwAV)
            scale = (min(_LEAST_SMALL, lowest, options.small_scale), options.small_scale)
        boxes = torch.from_numpy(crop_boxes(numbers[:, :_BOX], aspect.cpu().numpy(), scale)).to(pixels.device)
        rest = torch.from_numpy(numbers[:, _BOX:]).to(pixels.device)

        flipped = rest[:, 0] < (options.flip or 0)
        inverted = sigmas = None
        if options.flip_vertical:
            inverted = self._uniform("upside down", draws, view, 1)[:, 0] < options.flip_vertical
            inverted = inverted.to(pixels.device)
        if options.blur:  # SimCLR: sigma in [0.1, 2] at 224 px, scaled with the size
            sigmas = torch.where(rest[:, 1] < options.blur, (0.1 + 1.9 * rest[:, 2]) * size / 224, 0)
        source = pixels
        if options.rotate:
            radians = (2 * rest[:, 3] - 1) * math.radians(options.rotate)
            source = turn(source.float(), radians, aspect.to(rest))
        found = cropped(source, boxes, size, flipped=flipped, inverted=inverted, sigmas=sigmas)
        return self._coloured(found, rest[:, 4:10])

    def _coloured(self, found: Tensor, numbers: Tensor) -> Tensor:
        """Views `[b, c, h, w]` in [0, 255] with their colours changed, clamped and normalised."""
        options = self.options
        flat = found.flatten(2)
        mean, std = self.mean.to(found), self.std.to(found)
        matrix, offset = colour(
            numbers,
            flat.mean(2) / 255,
            brightness=options.brightness or 0,
            contrast=options.contrast or 0,
            saturation=options.saturation or 0,
            hue=options.hue or 0,
            jitter=options.jitter or 0,
            greyscale=options.greyscale or 0,
        )
        matrix = matrix / (255 * std[:, None])
        offset = (offset - mean) / std
        out = torch.baddbmm(offset[:, :, None], matrix, flat)
        for channel, (low, high) in zip(out.unbind(1), self._bounds, strict=True):
            channel.clamp_(low, high)
        return out.view(found.shape)

    def _covered(self, views: Tensor, draws: NDArray[np.int64], view: int) -> Tensor:
        """Normalised views, some of them solarised, cut out and masked; only those are touched."""
        options = self.options
        low, high = self._low.to(views), self._high.to(views)
        fill = low if options.mask_fill == "black" else torch.zeros_like(low)
        high_px, wide_px = views.shape[-2:]
        if options.solarise:
            numbers = self._uniform("solarise", draws, view, 1)
            if rows := _chosen(numbers, options.solarise):
                views[rows] = solarised(views[rows], low, high, options.solarise_from)
        if options.cutout:
            numbers = self._uniform("cutout", draws, view, 3)
            if rows := _chosen(numbers, options.cutout):
                boxes = mask.cutout_boxes(numbers[rows, 1:].numpy(), options.cutout_size)
                where = mask.inside(torch.from_numpy(boxes).to(views.device), high_px, wide_px)
                views[rows] = mask.covered(views[rows], where, fill, 1.0)
        if options.mask and (view > 0 or options.mask_views == "all"):
            numbers = self._uniform("mask", draws, view, 1 + _BOX)
            if rows := _chosen(numbers, options.mask):
                if options.mask_shape == "box":
                    boxes = mask.mask_boxes(numbers[rows, 1:].numpy(), options.mask_ratio)
                    where = mask.inside(torch.from_numpy(boxes).to(views.device), high_px, wide_px)
                else:
                    where = mask.at_random(numbers[rows, 1:4].to(views.device), high_px, wide_px, options.mask_ratio)
                views[rows] = mask.covered(views[rows], where, fill, options.mask_alpha)
        return views

    def _uniform(self, operation: str, draws: NDArray[np.int64], view: int, count: int) -> Tensor:
        """Numbers `[b, count]` of one operation's own: switching it on changes no other."""
        return torch.from_numpy(randomness.uniform(self.seed, f"image views: {operation}", draws, count, view))


def small_size(options: ImageOptions, size: int) -> int:
    """The side of small views in pixels: a share of the wide views' `size`, a multiple of 8."""
    return max(8, 8 * round(options.small_size * size / 8))


def _chosen(numbers: Tensor, probability: float) -> list[int]:
    """The rows whose first number says so; known on the CPU, so that no device has to be waited for."""
    found: list[int] = (numbers[:, 0] < probability).nonzero()[:, 0].tolist()
    return found
