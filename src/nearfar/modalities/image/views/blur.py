"""Gaussian blur, a width of its own for each sample: as matrices, or as a convolution over large views."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

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


def blurred(pictures: Tensor, sigmas: Tensor) -> Tensor:
    """What the matrices of `blurring` make of pictures `[b, c, s, s]`, by a convolution that leaves out their zeros."""
    b, c, size = pictures.shape[:3]
    reach = min(size - 1, int((2 * _NOTHING) ** 0.5 * float(sigmas.max())) + 1)
    half = gaussians(sigmas, reach)
    kernels = torch.cat([half.flip(1), half[:, 1:]], dim=1)  # [b 2reach+1]
    planes = kernels.repeat_interleave(c, dim=0)[:, None, :, None]
    inside = conv2d(torch.ones(1, b, size, 1), kernels[:, None, :, None], padding=(reach, 0), groups=b)
    share = inside.view(b, 1, size, 1)  # of the weights that lie within the view
    for _ in range(2):  # down, and across as down of the transposed: oneDNN is much quicker at tall kernels than at wide
        turned = pictures.transpose(2, 3).reshape(1, b * c, size, size)
        pictures = conv2d(turned, planes, padding=(reach, 0), groups=b * c).view(b, c, size, size).div_(share)
    return pictures
