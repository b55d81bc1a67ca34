"""What is said of places in pictures, moved as their views are: masks pixel by pixel, boxes by their corners.

Masks are `mask` uint8 `[b, s, s]` over the squares of `Pictures`. Boxes are `boxes` float32 `[b, m, 4]`, left, top,
right and bottom as shares of the picture, and `labels` int64 `[b, m]`, -1 where a picture has fewer than m; in a view
they are pixels of it.
"""

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.contract.annotations import VOID
from nearfar.modalities.image.views.crop import corners
from nearfar.modalities.image.views.drawing import Drawn
from nearfar.modalities.image.views.turn import turns

LEAST_SEEN = 0.4
"""Share of a box that must be in the view for what it is around to be looked for there."""
_LEAST_PIXELS = 2.0


def moved(marks: Mapping[str, Tensor], drawn: Drawn, aspect: Tensor, size: int) -> dict[str, Tensor]:
    """The marks of b pictures in their views of `size` pixels; `aspect` [b] is width / height of the pictures."""
    found: dict[str, Tensor] = {}
    if "mask" in marks:
        found["mask"] = _masks(marks["mask"].cpu().numpy(), drawn, aspect, size)
    if "boxes" in marks:
        found["boxes"], found["labels"] = _boxes(marks["boxes"].cpu(), marks["labels"].cpu(), drawn, aspect, size)
    return found


def _masks(masks: NDArray[np.uint8], drawn: Drawn, aspect: Tensor, size: int) -> Tensor:
    high, wide = masks.shape[1:]
    found = np.empty((len(masks), size, size), dtype=np.uint8)
    affine = None if drawn.radians is None else turns(drawn.radians, aspect.cpu(), high, wide).double().numpy()
    step = (np.arange(size) + 0.5) / size
    for i, (left, top, right, bottom) in enumerate(corners(drawn.boxes, high, wide).tolist()):
        mask = masks[i]
        if affine is not None:
            how = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
            mask = cv2.warpAffine(
                mask, affine[i], (wide, high), flags=how, borderMode=cv2.BORDER_CONSTANT, borderValue=VOID
            )
        rows = top + (step * (bottom - top)).astype(np.int64)
        columns = left + (step * (right - left)).astype(np.int64)
        if bool(drawn.flipped[i]):
            columns = columns[::-1]
        if drawn.inverted is not None and bool(drawn.inverted[i]):
            rows = rows[::-1]
        found[i] = mask[np.ix_(rows, columns)]
    return torch.from_numpy(found)


def _boxes(boxes: Tensor, labels: Tensor, drawn: Drawn, aspect: Tensor, size: int) -> tuple[Tensor, Tensor]:
    boxes = boxes.double()
    if drawn.radians is not None:
        boxes = _turned(boxes, drawn.radians.double(), aspect.cpu().double())
    shown = drawn.boxes.double()[:, None]  # [b 1 4]: left, top, width, height
    placed = (boxes - shown[..., [0, 1, 0, 1]]) / shown[..., [2, 3, 2, 3]]
    if (flip := drawn.flipped[:, None, None]).any():
        placed = torch.where(flip, _mirrored(placed, 0), placed)
    if drawn.inverted is not None:
        placed = torch.where(drawn.inverted[:, None, None], _mirrored(placed, 1), placed)
    seen = placed.clamp(0, 1)
    there = _area(seen) >= LEAST_SEEN * _area(placed)
    large = ((seen[..., 2:] - seen[..., :2]) * size >= _LEAST_PIXELS).all(-1)
    return (seen * size).float(), torch.where(there & large, labels, -1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _mirrored(boxes: Tensor, axis: int) -> Tensor:
    """Boxes seen in a mirror: left to right for axis 0, upside down for axis 1."""
    found = boxes.clone()
    found[..., axis], found[..., axis + 2] = 1 - boxes[..., axis + 2], 1 - boxes[..., axis]
    return found


def _turned(boxes: Tensor, radians: Tensor, aspect: Tensor) -> Tensor:
    """The upright boxes around the corners of boxes that are turned about the centre of the picture."""
    scale = torch.stack([aspect, torch.ones_like(aspect)], 1)[:, None, None]  # of shares, to a picture of height 1
    places = torch.stack([boxes[..., [0, 2, 0, 2]], boxes[..., [1, 1, 3, 3]]], -1)  # [b m 4 2]
    off = (places - 0.5) * scale
    cos, sin = (one[:, None, None] for one in (radians.cos(), radians.sin()))
    # `turns` says where a pixel is taken from; a corner goes the other way.
    x = cos * off[..., 0] + sin * off[..., 1]
    y = -sin * off[..., 0] + cos * off[..., 1]
    new = torch.stack([x, y], -1) / scale + 0.5
    return torch.cat([new.amin(2), new.amax(2)], -1)
