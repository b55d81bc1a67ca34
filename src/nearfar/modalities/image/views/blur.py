"""Gaussian blur, a width of its own for each sample: as matrices, or as a convolution over large views."""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv2d

_NOTHING = 17  # exponents from here on are nothing beside 1 in float32; as denormals they would cost ten times more


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
    """What the matrices of `blurring` make of one picture `[c, h, w]`, by convolutions that leave out their zeros."""
    reach = math.ceil(math.sqrt(2 * _NOTHING) * sigma)
    half = gaussians(torch.tensor([sigma]), reach)[0]
    kernel = torch.cat([half.flip(0), half[1:]])
    kernel /= kernel.sum()
    for _ in range(2):  # down the columns, each a channel of its own, then the same with the picture transposed
        columns = picture.transpose(1, 2)[:, :, None]  # [c w 1 h], the channels innermost in memory
        high, wide = picture.shape[1:]
        found = conv2d(columns, kernel.expand(wide, 1, 1, -1), padding=(0, reach), groups=wide)[:, :, 0]
        within = conv1d(torch.ones(1, 1, high), kernel[None, None], padding=reach)  # of the weights, inside the view
        for border in (slice(0, reach), slice(max(reach, high - reach), high)):
            found[..., border].div_(within[0, 0, border])
        picture = found.contiguous()
    return picture
