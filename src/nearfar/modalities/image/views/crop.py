"""Crops: where the box of a view lies in its picture."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def crop_boxes(
    numbers: NDArray[np.float32], aspect: NDArray[np.float32], scale: tuple[float, float], ratio: float = 4 / 3
) -> NDArray[np.float32]:
    """Boxes `[b, 4]` as torchvision's RandomResizedCrop draws them, in shares of width and height.

    A box is left, top, width, height. `numbers` [b, 2 * tries + 2] are uniform; `aspect` [b] is width / height of the
    whole image; the box's own ratio lies between 1 / `ratio` and `ratio`.
    """
    tries = (numbers.shape[1] - 2) // 2
    share = scale[0] + (scale[1] - scale[0]) * numbers[:, :tries]
    shape = np.exp((2 * numbers[:, tries : 2 * tries] - 1) * math.log(ratio))
    width = np.sqrt(share * shape / aspect[:, None])  # of the image's width
    height = np.sqrt(share * aspect[:, None] / shape)  # of the image's height
    fits = (width <= 1) & (height <= 1)
    first = fits.argmax(axis=1)
    rows = np.arange(len(numbers))
    w, h = width[rows, first], height[rows, first]
    none = ~fits.any(axis=1)
    if none.any():  # the largest central box whose own ratio is allowed
        bounded = np.clip(aspect, 1 / ratio, ratio)
        w = np.where(none, np.minimum(1, bounded / aspect), w)
        h = np.where(none, np.minimum(1, aspect / bounded), h)
    at = np.where(none[:, None], np.float32(0.5), numbers[:, -2:])
    return np.stack([at[:, 0] * (1 - w), at[:, 1] * (1 - h), w, h], axis=1).astype(np.float32)


def corners(boxes: Tensor, high: int, wide: int) -> Tensor:
    """The boxes `[b, 4]` in whole pixels of pictures this high and wide: left, top, right, bottom, int64 `[b, 4]`.

    Each spans at least one pixel.
    """
    whole = torch.tensor([wide, high, wide, high])
    found = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1).mul(whole).round().long()
    found[:, :2] = torch.minimum(found[:, :2].clamp_min(0), whole[:2] - 1)
    found[:, 2:] = torch.minimum(torch.maximum(found[:, 2:], found[:, :2] + 1), whole[2:])
    return found
