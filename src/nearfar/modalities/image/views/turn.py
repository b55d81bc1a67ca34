"""Turns about the centre."""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


def turn(pictures: Tensor, radians: Tensor, aspect: Tensor) -> Tensor:
    """Turn each picture `[b, c, h, w]` about its centre; what comes in from outside repeats the border.

    `aspect` [b] is width / height of the picture as it was, whatever its shape here.
    """
    high, wide = pictures.shape[2:]
    x, y = ((torch.arange(size, device=pictures.device) * 2 + 1) / size - 1 for size in (wide, high))
    cos, sin, aspect = (values[:, None, None] for values in (radians.cos(), radians.sin(), aspect))
    grid = torch.stack([cos * x - sin / aspect * y[:, None], sin * aspect * x + cos * y[:, None]], dim=3)
    return grid_sample(pictures, grid, padding_mode="border", align_corners=False)
