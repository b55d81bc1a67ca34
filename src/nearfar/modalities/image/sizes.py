"""What the pictures of a data set decide: the size they are kept at, their mean and spread, and their colours."""

import math
from typing import TYPE_CHECKING

import torch

from nearfar.modalities.image.options import LARGEST

if TYPE_CHECKING:
    from nearfar.modalities.image.source import ImageSource

_AT_ONCE = 64  # pictures whose mean and spread are taken at once


def without(channels: int) -> dict[str, str]:
    """The changes of colour that pictures of so many channels go without, and why."""
    if channels == 1:
        return dict.fromkeys(("saturation", "hue", "greyscale"), "grey pictures have no colours to lose")
    if channels == 3:
        return {}
    return {"hue": f"hue is that of three channels; saturation and greyscale blend {channels} with their mean"}


def stored_size(native: int, size: int, crop_scale: float) -> int:
    """The side at which pictures are kept: their own, but no more than the smallest crop needs.

    A crop takes at least the share `crop_scale` of the area, at a ratio of its sides of up to 4/3: its shorter side is
    then `size` pixels long, as is what the encoder sees.
    """
    return max(8, min(native, LARGEST, math.ceil(size / math.sqrt(crop_scale * 3 / 4))))


def statistics(source: "ImageSource") -> tuple[list[float], list[float]]:
    """Mean and spread of each channel in [0, 1], over the source's sample; the spread is never below 0.05."""
    count, total, squares = 0, torch.zeros(1), torch.zeros(1)
    sample = source.sample
    for start in range(0, len(sample), _AT_ONCE):
        pictures, _ = source.fetch(sample[start : start + _AT_ONCE])
        pixels = pictures.pixels.transpose(0, 1).flatten(1).double() / 255
        count += pixels.shape[1]
        total = total + pixels.sum(1)
        squares = squares + pixels.square().sum(1)
    mean = total / count
    std = ((squares - count * mean.square()) / (count - 1)).clamp_min(0).sqrt().clamp_min(0.05)
    return [round(v, 5) for v in mean.tolist()], [round(v, 5) for v in std.tolist()]
