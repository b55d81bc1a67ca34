"""What is drawn for each view: where it lies, how it is changed; the pixels come later."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar import randomness
from nearfar.modalities.image.options import ImageOptions
from nearfar.modalities.image.views.crop import crop_boxes
from nearfar.modalities.image.views.mask import cutout_boxes, mask_boxes

_TRIES = 10  # as torchvision's RandomResizedCrop, before it falls back to the centre
_BOX = 2 * _TRIES + 2
_LEAST_SMALL = 0.05  # the least share of the area that a small view shows, as in DINO
_STAYING = frozenset({"solarised", "cut", "masked"})  # so that no device has to be waited for


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The parameters of b views, one row each; None where an operation is off.

    `boxes` [b, 4] are shares of the picture; `sigmas` [b] pixels of the view, 0 for none; `colours` [b, 6] uniform
    numbers for `colour`. `solarised`, `cut` and `masked` [b] say which views are, and stay on the CPU, so that no
    device has to be waited for; `cutouts` and `masks` [b, 4] are boxes, `pixels` [b, 3] numbers for `at_random`.
    """

    boxes: Tensor
    flipped: Tensor
    inverted: Tensor | None = None
    sigmas: Tensor | None = None
    radians: Tensor | None = None
    colours: Tensor
    solarised: Tensor | None = None
    cut: Tensor | None = None
    cutouts: Tensor | None = None
    masked: Tensor | None = None
    masks: Tensor | None = None
    pixels: Tensor | None = None

    def part(self, samples: slice) -> Drawn:
        """Some rows."""
        return self._each(lambda name, values: values[samples])

    def to(self, device: torch.device) -> Drawn:
        """The same on a device, but for what stays on the CPU."""
        return self._each(lambda name, values: values if name in _STAYING else values.to(device))

    def _each(self, change: Callable[[str, Tensor], Tensor]) -> Drawn:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return Drawn(**{name: change(name, values) for name, values in given.items() if values is not None})


def draw(
    options: ImageOptions,
    aspect: Tensor,
    draws: NDArray[np.int64],
    *,
    seed: int,
    view: int,
    size: int,
    small: bool,
) -> Drawn:
    """The parameters of view number `view`, each row keyed by (seed, its draw, view); `size` is the view's in pixels.

    `aspect` [b] is width / height of the pictures as they were.
    """

    def uniform(operation: str, count: int) -> NDArray[np.float32]:
        """Numbers of an operation's own: switching it on changes no other."""
        return randomness.uniform(seed, f"image views: {operation}", draws, count, view)

    def below(numbers: NDArray[np.float32], probability: float) -> Tensor:
        return torch.from_numpy(numbers[:, 0] < np.float32(probability))

    numbers = randomness.uniform(seed, "image views", draws, _BOX + 10, view)
    lowest = options.crop_scale or 1.0
    scale = (lowest, 1.0)
    if small:  # multi-crop (Caron et al. 2020, SwAV)
        scale = (min(_LEAST_SMALL, lowest, options.small_scale), options.small_scale)
    boxes = crop_boxes(numbers[:, :_BOX], aspect.cpu().numpy(), scale)
    rest = torch.from_numpy(numbers[:, _BOX:])
    found: dict[str, Tensor] = {
        "boxes": torch.from_numpy(boxes),
        "flipped": rest[:, 0] < (options.flip or 0),
        "colours": rest[:, 4:10],
    }
    if options.keep_colours:
        kept = below(randomness.uniform(seed, "image views: keep colours", draws, 1), options.keep_colours)
        found["colours"] = torch.where(kept[:, None], unturned(found["colours"], options), found["colours"])
    if options.flip_vertical:
        found["inverted"] = below(uniform("upside down", 1), options.flip_vertical)
    if options.blur:  # SimCLR: sigma in [0.1, 2] at 224 px, scaled with the size
        found["sigmas"] = torch.where(rest[:, 1] < options.blur, (0.1 + 1.9 * rest[:, 2]) * size / 224, 0)
    if options.rotate:
        found["radians"] = (2 * rest[:, 3] - 1) * math.radians(options.rotate)
    if options.solarise:
        found["solarised"] = below(uniform("solarise", 1), options.solarise)
    if options.cutout:
        numbers = uniform("cutout", 3)
        found["cut"] = below(numbers, options.cutout)
        found["cutouts"] = torch.from_numpy(cutout_boxes(numbers[:, 1:], options.cutout_size))
    if options.mask and (view > 0 or options.mask_views == "all"):
        numbers = uniform("mask", 1 + _BOX)
        found["masked"] = below(numbers, options.mask)
        if options.mask_shape == "box":
            found["masks"] = torch.from_numpy(mask_boxes(numbers[:, 1:], options.mask_ratio))
        else:
            found["pixels"] = torch.from_numpy(numbers[:, 1:4])
    return Drawn(**found)


def unturned(numbers: Tensor, options: ImageOptions) -> Tensor:
    """Numbers for `colour` [b, 6] that leave hue and saturation as they are."""
    low, high = max(0.0, 1 - options.largest("saturation")), 1 + options.largest("saturation")
    same = (1 - low) / (high - low) if high > low else 0.5
    return torch.cat([numbers[:, :3], torch.tensor([same, 0.5, 1.0]).expand(len(numbers), 3)], dim=1)
