"""Turns about the centre, as affine maps of pixels' places."""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


def turns(radians: Tensor, aspect: Tensor, high: int, wide: int) -> Tensor:
    """Maps `[b, 2, 3]` from a pixel's place (x, y) to where it is taken from, in pictures this high and wide.

    `aspect` [b] is width / height of the picture as it was, whatever its shape here.
    """
    cos, sin = radians.cos(), radians.sin()
    squash = high / wide * aspect
    linear = torch.stack([torch.stack([cos, -sin / squash], 1), torch.stack([sin * squash, cos], 1)], 1)
    centre = torch.tensor([(wide - 1) / 2, (high - 1) / 2], device=radians.device)
    shift = centre - (linear * centre).sum(2)  # no product: that would take an autocast's arithmetic
    return torch.cat([linear, shift[:, :, None]], dim=2)


def turned(pictures: Tensor, maps: Tensor) -> Tensor:
    """Pictures `[b, c, h, w]` under the maps of `turns`; what comes in from outside repeats the border."""
    high, wide = pictures.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(high, device=pictures.device), torch.arange(wide, device=pictures.device), indexing="ij"
    )
    places = torch.stack([x, y, torch.ones_like(x)]).flatten(1).float()
    found = (maps @ places).transpose(1, 2).view(len(pictures), high, wide, 2)
    sizes = torch.tensor([wide, high], device=pictures.device)
    return grid_sample(pictures, (found * 2 + 1) / sizes - 1, padding_mode="border", align_corners=False)
