"""Views of a whole batch at once by matrix products, on any device: what a GPU does best.

Crop, resize, flip and blur are linear and separable: two matrices a sample, `[out, in]` for rows and for columns, so
that placing all views costs two batched products.
"""

import math

import torch
from torch import Tensor

from nearfar.modalities.image.views.blur import blurring
from nearfar.modalities.image.views.turn import turned

_COLUMNS = 12  # of the matrices that colours are multiplied with, about


def placed(
    pictures: Tensor,
    corners: Tensor,
    size: int,
    *,
    flipped: Tensor | None = None,
    inverted: Tensor | None = None,
    sigmas: Tensor | None = None,
    turns: Tensor | None = None,
) -> Tensor:
    """The boxes of pictures `[b, c, h, w]`, resized to `[b, c, size, size]` float, channels innermost in memory.

    `corners` [b, 4] are left, top, right, bottom in pixels; what lies outside plays no part. `turns` [b, 2, 3] turn
    the picture first (see `turn`); `flipped` [b] are mirrored left to right, `inverted` [b] upside down; `sigmas` [b]
    are the widths of a blur in pixels of the result, 0 for none.
    """
    source = pictures if turns is None else turned(pictures.float(), turns)
    high, wide = source.shape[-2:]
    left, top, right, bottom = corners.to(source.device).unbind(1)
    across, down = resampling(left, right, wide, size, flipped), resampling(top, bottom, high, size, inverted)
    if sigmas is not None:
        blur = blurring(sigmas, size)
        across, down = blur @ across, blur @ down
    return resampled(source, across, down)


def resampling(start: Tensor, stop: Tensor, size_in: int, size_out: int, flipped: Tensor | None = None) -> Tensor:
    """Matrices `[b, size_out, size_in]` that resize the pixels from `start` to before `stop`, both [b], antialiased.

    The filter is the triangle, widened where the part is larger than the output, as in PIL's BILINEAR.
    """
    length = (stop - start)[:, None]
    place = (torch.arange(size_out, device=start.device) + 0.5) / size_out
    centre = start[:, None] + place * length  # [b out]
    if flipped is not None:
        centre = torch.where(flipped[:, None], centre.flip(1), centre)
    support = (length / size_out).clamp_min(1)[:, :, None]
    pixel = torch.arange(size_in, device=start.device)
    weights = (centre[:, :, None] - pixel - 0.5).abs_().div_(support).neg_().add_(1).clamp_min_(0)
    outside = (pixel < start[:, None]) | (pixel >= stop[:, None])
    weights.masked_fill_(outside[:, None], 0)
    return weights.div_(weights.sum(2, keepdim=True))


def resampled(pictures: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Pictures `[b, c, h, w]` under matrices `[b, size, w]` for columns and `[b, size, h]` for rows."""
    b, c, high, wide = pictures.shape
    size = across.shape[1]
    # Each product takes the last axis away and puts its own first: [c h w], [w c h], [h w c].
    rows = pictures.to(torch.float32, memory_format=torch.contiguous_format).view(b, c * high, wide)
    columns = torch.bmm(across, rows.transpose(1, 2)).view(b, size * c, high)
    return torch.bmm(down, columns.transpose(1, 2)).view(b, size, size, c).permute(0, 3, 1, 2)


def mixed(views: Tensor, matrices: Tensor, offsets: Tensor) -> Tensor:
    """The matrix `[b, c, c]` times each colour of views `[b, c, h, w]` plus the offset `[b, c]`, channels innermost.

    A few pixels go together, under a matrix that repeats the sample's along its diagonal: products with as few columns
    as a pixel has channels take four times as long.
    """
    b, c, high, wide = views.shape
    together = math.gcd(high * wide, max(1, _COLUMNS // c))
    eye = torch.eye(together, device=views.device)[:, None, :, None]
    blocks = (eye * matrices.transpose(1, 2)[:, None, :, None]).reshape(b, together * c, together * c)
    inner = views.permute(0, 2, 3, 1).reshape(b, -1, together * c)
    found = torch.baddbmm(offsets.repeat(1, together)[:, None], inner, blocks)
    return found.view(b, high, wide, c).permute(0, 3, 1, 2)
