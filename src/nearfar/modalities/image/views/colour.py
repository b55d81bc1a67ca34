"""Changes of colour, composed into one matrix and one offset a sample."""

import math
from functools import cache

import torch
from torch import Tensor

_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def colour(
    numbers: Tensor,
    means: Tensor,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    jitter: float,
    greyscale: float,
) -> tuple[Tensor, Tensor]:
    """Matrices `[b, c, c]` and offsets `[b, c]` that change the colours of pictures whose mean colours are `means`.

    `numbers` [b, 6] are uniform: whether to change, brightness, contrast, saturation, hue, whether to go grey. Factors
    lie within 1 +- `brightness`, `contrast` and `saturation`, never below 0; hue shifts within +- `hue` of a full turn.
    Saturation and greyscale blend with the luma, which for other than three channels is their mean; hue is for three.

    All four changes commute, so that every order of them gives this matrix: the luma is kept by saturation and by hue,
    and they keep what is grey.
    """
    b, c = means.shape
    device = means.device
    on = (numbers[:, 0] < jitter).float()
    spreads = enumerate((brightness, contrast, saturation), 1)
    light, contrasts, saturations = (_factors(on, numbers[:, i], spread)[:, None] for i, spread in spreads)
    eye = torch.eye(c, device=device).expand(b, c, c)
    luma = _yiq(device)[0][0] if c == 3 else torch.full((c,), 1 / c, device=device)
    matrix = eye * light[:, :, None]
    offset = (1 - contrasts) * light * (means @ luma)[:, None]
    matrix = matrix * contrasts[:, :, None]
    offset = offset.expand(b, c)
    if c > 1:
        grey = luma.expand(c, c)
        step = eye * saturations[:, :, None] + grey * (1 - saturations)[:, :, None]
        if c == 3:
            step = _hue(on * (2 * numbers[:, 4] - 1) * min(hue, 0.5)) @ step
        step = torch.where((numbers[:, 5] < greyscale)[:, None, None], grey @ step, step)
        matrix = step @ matrix
        offset = (step @ offset[:, :, None])[:, :, 0]
    return matrix, offset


def _factors(on: Tensor, numbers: Tensor, spread: float) -> Tensor:
    low, high = max(0.0, 1 - spread), 1 + spread
    return 1 + on * (low - 1 + (high - low) * numbers)


def _hue(turns: Tensor) -> Tensor:
    """Matrices `[b, 3, 3]` that turn red towards green, as torchvision's shift does, by shares of a full turn."""
    there, back = _yiq(turns.device)
    angle = turns * 2 * math.pi
    spin = torch.zeros(len(turns), 3, 3, device=turns.device)
    spin[:, 0, 0] = 1
    spin[:, 1, 1] = spin[:, 2, 2] = angle.cos()
    spin[:, 1, 2], spin[:, 2, 1] = angle.sin(), -angle.sin()
    return back @ spin @ there


@cache
def _yiq(device: torch.device) -> tuple[Tensor, Tensor]:
    """The matrices from RGB to YIQ and back."""
    there = torch.tensor(_YIQ, dtype=torch.float64)
    return there.float().to(device), torch.linalg.inv(there).float().to(device)
