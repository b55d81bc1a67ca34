"""Masks: a part of the view is covered, X' = (1 - alpha) X + alpha M, by a box, by a cut-out or at random pixels.

A box is that of Random Erasing (Zhong et al. 2020); a cut-out the square of DeVries and Taylor (2017), whose centre
lies anywhere in the view, so that part of it may lie outside.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.modalities.image.views.crop import crop_boxes

RATIO = 3.3
"""Largest ratio of a box's sides, as in Random Erasing."""
LEAST = 1 / 16
"""The smallest mask, as a share of the largest; Random Erasing's are 0.02 and 0.33."""
_GOLDEN, _FIRST, _SECOND = (x - 2**64 for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def mask_boxes(numbers: NDArray[np.float32], largest: float) -> NDArray[np.float32]:
    """Boxes `[b, 4]` (left, top, width, height) that cover up to `largest` of a square view.

    `numbers` [b, 2 * tries + 2] are uniform.
    """
    return crop_boxes(numbers, np.ones(len(numbers), np.float32), (LEAST * largest, largest), RATIO)


def cutout_boxes(numbers: NDArray[np.float32], side: float) -> NDArray[np.float32]:
    """Squares `[b, 4]` of this side (a share of the view's), their centres at `numbers` [b, 2], uniform."""
    return np.concatenate([numbers - side / 2, np.full_like(numbers, side)], axis=1)


def inside(boxes: Tensor, high: int, wide: int) -> Tensor:
    """Which pixels lie in the boxes `[b, 4]`, rounded to whole pixels: bool `[b, high, wide]`."""
    starts, stops = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    found = []
    for axis, size in ((1, high), (0, wide)):
        at = torch.arange(size, device=boxes.device)
        first, last = ((ends[:, axis, None] * size).round() for ends in (starts, stops))
        found.append((at >= first) & (at < last))
    return found[0][:, :, None] & found[1][:, None, :]


def at_random(numbers: Tensor, high: int, wide: int, largest: float) -> Tensor:
    """Pixels drawn one by one, each with the sample's own probability of up to `largest`: bool `[b, high, wide]`.

    `numbers` [b, 3] are uniform: the share, and two that name the sample. A pixel's number comes from them by
    SplitMix64 (Steele et al. 2014), the same on every device.
    """
    share = largest * (LEAST + (1 - LEAST) * numbers[:, 0])
    name = (numbers[:, 1:].double() * 2**24).long()
    state = (name[:, 0] << 40) + (name[:, 1] << 16)
    mixed = (torch.arange(1, high * wide + 1, device=numbers.device) * _GOLDEN)[None] + _mixed(state)[:, None]
    uniform = ((_mixed(mixed) >> 40) & (2**24 - 1)).float() * 2**-24
    return (uniform < share[:, None]).view(-1, high, wide)


def _mixed(words: Tensor) -> Tensor:
    """SplitMix64's finaliser; a shift of signed words brings in their sign, which is masked off."""
    words = (words ^ ((words >> 30) & (2**34 - 1))) * _FIRST
    words = (words ^ ((words >> 27) & (2**37 - 1))) * _SECOND
    return words ^ ((words >> 31) & (2**33 - 1))


def covered(views: Tensor, masked: Tensor, fill: Tensor, alpha: float) -> Tensor:
    """Views `[b, c, h, w]`, blended in place with `fill` [c] by `alpha` where `masked` `[b, h, w]`."""
    return views.lerp_(fill[:, None, None].expand_as(views), (alpha * masked)[:, None])
