"""Gaussian blur, a width of its own for each sample, as matrices; of those of large views the band that is not zero."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

_NOTHING = 17  # exponents from here on are nothing beside 1 in float32; as denormals they would cost ten times more
_BLOCK = 16  # rows of a band that are multiplied at once


def gaussians(sigmas: Tensor, reach: int) -> Tensor:
    """Weights `[b, reach + 1]` at 0, 1, ..., `reach` pixels from the centre, 1 there; sigma 0 has no others."""
    at = torch.arange(reach + 1, device=sigmas.device)
    exponents = at.square() / (2 * sigmas.square() + 1e-8)[:, None]
    return exponents.clamp_max(_NOTHING).neg().exp().masked_fill_(exponents >= _NOTHING, 0)


def blurring(sigmas: Tensor, size: int) -> Tensor:
    """Gaussian matrices `[b, size, size]`, rows summing to one; sigma 0 is the identity. Sigmas are in pixels."""
    kernels = gaussians(sigmas, size - 1)
    mirrored = torch.cat([kernels.flip(1), kernels[:, 1:]], dim=1)
    weights = mirrored.unfold(1, size, 1).flip(1)  # [b size size], each row one place further
    return weights.div_(weights.sum(2, keepdim=True))


def blurred(picture: Tensor, sigma: float) -> Tensor:
    """What the matrices of `blurring` make of one picture `[c, h, w]`: the same, its channels innermost in memory."""
    c, high, wide = picture.shape
    reach = math.ceil(math.sqrt(2 * _NOTHING) * sigma)
    across, down = (blurring(torch.tensor([sigma]), size)[0] for size in (wide, high))
    found = banded(across, picture.reshape(c * high, wide), reach)  # [w (c h)]
    return banded(down, found.view(wide * c, high), reach).view(high, wide, c).permute(2, 0, 1)


def banded(matrix: Tensor, rows: Tensor, reach: int) -> Tensor:
    """`matrix` [n, n], zero further than `reach` from its diagonal, times each of `rows` [m, n]: `[n, m]`."""
    n, m = len(matrix), len(rows)
    blocks = -(-n // _BLOCK)
    more = blocks * _BLOCK - n
    matrix, rows = pad(matrix, (reach, reach + more, 0, more)), pad(rows, (reach, reach + more))
    wide = rows.shape[1]
    bands = matrix.as_strided((blocks, _BLOCK, _BLOCK + 2 * reach), (_BLOCK * wide + _BLOCK, wide, 1))
    windows = rows.as_strided((blocks, _BLOCK + 2 * reach, m), (_BLOCK, 1, wide))
    return torch.bmm(bands, windows).view(-1, m)[:n]
