"""Plain crops of pictures: what an encoder is shown where nothing is drawn."""

import torch
from torch import Tensor

from nearfar.modalities.image.views import batched, single
from nearfar.modalities.image.views.crop import corners
from nearfar.modalities.image.views.pieces import by_pieces, one_by_one


@torch.no_grad()
def squares(pictures: Tensor, boxes: Tensor, size: int) -> Tensor:
    """The boxes of pictures `[b, c, h, w]`, resized to `[b, c, size, size]` float, channels innermost in memory.

    `boxes` [b, 4] are left, top, width and height as shares of the picture, rounded to whole pixels.
    """
    places = corners(boxes.cpu(), *pictures.shape[-2:])
    if not one_by_one(pictures):
        return batched.placed(pictures, places, size)
    return by_pieces(pictures, size, lambda part, out: single.placed(pictures[part], places[part], out))
