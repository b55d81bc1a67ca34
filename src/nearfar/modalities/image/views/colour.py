"""Changes of colour, composed into one matrix and one offset a sample."""

import math
from functools import cache

import torch
from torch import Tensor

_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def colour(
    numbers: Tensor,
    channels: int,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    jitter: float,
    greyscale: float,
) -> tuple[Tensor, Tensor]:
    """Two matrices `[b, c, c]` a sample: a colour becomes the first times it, plus the second times the mean colour.

    `numbers` [b, 6] are uniform: whether to change, brightness, contrast, saturation, hue, whether to go grey. Factors
    lie within 1 +- `brightness`, `contrast` and `saturation`, never below 0; hue shifts within +- `hue` of a full turn.
    Saturation and greyscale blend with the luma, which for other than three channels is their mean; hue is for three.

    All four changes commute, so that every order of them gives these matrices: the luma is kept by saturation and by
    hue, and they keep what is grey.
    """
    device = numbers.device
    on = (numbers[:, 0] < jitter).float()
    spreads = enumerate((brightness, contrast, saturation), 1)
    light, contrasts, saturations = (_factors(on, numbers[:, i], spread)[:, None, None] for i, spread in spreads)
    eye = torch.eye(channels, device=device)
    luma = _yiq(device)[0][0] if channels == 3 else torch.full((channels,), 1 / channels, device=device)
    grey = luma.expand(channels, channels)
    step = eye.expand(len(numbers), channels, channels)
    if channels > 1:
        step = eye * saturations + grey * (1 - saturations)
        if channels == 3:
            step = _hue(on * (2 * numbers[:, 4] - 1) * min(hue, 0.5)) @ step
        step = torch.where((numbers[:, 5] < greyscale)[:, None, None], grey @ step, step)
    return step * (light * contrasts), step @ grey * (light * (1 - contrasts))


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
