"""Turns about the centre."""

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def turn(pictures: Tensor, radians: Tensor, aspect: Tensor) -> Tensor:
    """Turn each picture `[b, c, h, w]` about its centre; what comes in from outside repeats the border.

    `aspect` [b] is width / height of the picture as it was, whatever its shape here.
    """
    cos, sin = radians.cos(), radians.sin()
    none = torch.zeros_like(cos)
    theta = torch.stack([cos, -sin / aspect, none, sin * aspect, cos, none], dim=1).view(-1, 2, 3)
    grid = affine_grid(theta, list(pictures.shape), align_corners=False)
    return grid_sample(pictures, grid, padding_mode="border", align_corners=False)
