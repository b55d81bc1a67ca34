"""Crops, resized: where a box lies, and what a view of it shows."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from nearfar.modalities.image.views.blur import blurred, blurring
from nearfar.modalities.image.views.pieces import large


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


def resampling(start: Tensor, length: Tensor, size_in: int, size_out: int, flipped: Tensor | None = None) -> Tensor:
    """Matrices `[b, size_out, size_in]` that resize the part from `start` (a share) of `length`, antialiased.

    The filter is the triangle, widened where the part is larger than the output, as in PIL's BILINEAR.
    """
    place = (torch.arange(size_out, device=start.device) + 0.5) / size_out
    centre = (start[:, None] + place * length[:, None]) * size_in  # [b out]
    if flipped is not None:
        centre = torch.where(flipped[:, None], centre.flip(1), centre)
    support = (length * (size_in / size_out)).clamp_min(1)[:, None, None]
    pixel = torch.arange(size_in, device=start.device) + 0.5
    weights = (centre[:, :, None] - pixel).abs_().div_(support).neg_().add_(1).clamp_min_(0)
    return weights.div_(weights.sum(2, keepdim=True))


def cropped(
    pictures: Tensor,
    boxes: Tensor,
    size: int,
    *,
    flipped: Tensor | None = None,
    inverted: Tensor | None = None,
    sigmas: Tensor | None = None,
) -> Tensor:
    """The boxes `[b, 4]` of pictures `[b, c, h, w]`, resized to `[b, c, size, size]` float, channels innermost.

    `flipped` [b] are mirrored left to right, `inverted` [b] upside down; `sigmas` [b] are the widths of a blur in
    pixels of the result, 0 for none.
    """
    if large(pictures):
        return cut(pictures, boxes, size, flipped, inverted, sigmas)
    high, wide = pictures.shape[-2:]
    across = resampling(boxes[:, 0], boxes[:, 2], wide, size, flipped)
    down = resampling(boxes[:, 1], boxes[:, 3], high, size, inverted)
    if sigmas is not None:
        blur = blurring(sigmas, size)
        across, down = blur @ across, blur @ down
    return resampled(pictures, across, down)


def resampled(pictures: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Pictures `[b, c, h, w]` under matrices `[b, size, w]` for columns and `[b, size, h]` for rows."""
    b, c, high, wide = pictures.shape
    size = across.shape[1]
    # Each product takes the last axis away and puts its own first: [c h w], [w c h], [h w c].
    rows = pictures.to(torch.float32, memory_format=torch.contiguous_format).view(b, c * high, wide)
    columns = torch.bmm(across, rows.transpose(1, 2)).view(b, size * c, high)
    return torch.bmm(down, columns.transpose(1, 2)).view(b, size, size, c).permute(0, 3, 1, 2)


def cut(
    pictures: Tensor,
    boxes: Tensor,
    size: int,
    flipped: Tensor | None = None,
    inverted: Tensor | None = None,
    sigmas: Tensor | None = None,
) -> Tensor:
    """What `cropped` says, one picture at a time by torch's own kernel, which skips the zeros.

    Boxes are rounded to whole pixels and pixels outside of them play no part, as in torchvision; bytes are rounded to
    bytes before they are blurred.
    """
    b, c, high, wide = pictures.shape
    whole = torch.tensor([wide, high, wide, high])
    corners = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1).mul(whole).round().long()
    corners[:, :2] = torch.minimum(corners[:, :2].clamp_min(0), whole[:2] - 1)
    corners[:, 2:] = torch.minimum(torch.maximum(corners[:, 2:], corners[:, :2] + 1), whole[2:])
    found = torch.empty(b, size, size, c).permute(0, 3, 1, 2)
    left_right = [False] * b if flipped is None else flipped.tolist()
    upside_down = [False] * b if inverted is None else inverted.tolist()
    widths = [0.0] * b if sigmas is None else sigmas.tolist()
    for i, (left, top, right, bottom) in enumerate(corners.tolist()):
        part = pictures[i : i + 1, :, top:bottom, left:right]
        part = interpolate(part, size=(size, size), mode="bilinear", antialias=True)[0]
        mirrored = [axis for axis, asked in ((1, upside_down[i]), (2, left_right[i])) if asked]
        part = part.flip(mirrored) if mirrored else part
        found[i] = blurred(part.float(), widths[i]) if widths[i] else part
    return found
