"""Views of a whole batch of sounds at once, made of their spectrograms in decibels.

Parameters are keyed by (seed, draw, view), one stream of numbers for each operation. The order is crop and stretch in
time, warp in frequency, noise, mix, equalise and gain, normalise, mask.

- A crop that is stretched in time and warped in frequency is a change of tempo and of pitch or of the length of a vocal
  tract; it is BYOL-A's random resize crop (Niizumi et al. 2021) with two factors that have a meaning.
- Mixing is BYOL-A's: powers are added, as sounds in the air are. The other clip is drawn by the key from a pool of the
  data, not from the batch, so that a view is the same whatever batch its sample is in.
- Masks in time and frequency are SpecAugment's (Park et al. 2019), and put the mean of the data there.
"""

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar import randomness
from nearfar.modalities.audio.options import AudioOptions

_DB = 10 / math.log(10)  # decibels in a factor of e of power
_NOISE_FRAMES = 1 << 14


class ViewMaker:
    """Makes views of spectrograms, `size` frames each, normalised by `mean` and `std` in decibels."""

    def __init__(self, options: AudioOptions, *, size: int, mean: float, std: float, seed: int) -> None:
        self.options = options
        self.size = size
        self.mean = mean
        self.std = std
        self.seed = seed

    @torch.no_grad()
    def __call__(
        self,
        spectrograms: Tensor,
        frames: Tensor,
        pool: tuple[Tensor, Tensor] | None,
        draws: NDArray[np.int64],
        view: int,
        small: bool,
    ) -> dict[str, Tensor]:
        """View number `view` of spectrograms `[b, bands, t]` of `frames` [b]: `sound` `[b, bands, size]`, `frames` [b].

        `pool` are powers of other clips `[p, bands, t]`, and their frames [p].
        """
        options, device = self.options, spectrograms.device
        size = max(4, self.size // 2) if small else self.size

        def uniform(operation: str, count: int) -> Tensor:
            """Numbers of an operation's own: switching it on changes no other."""
            numbers = randomness.uniform(self.seed, f"audio views: {operation}", draws, count, view)
            return torch.from_numpy(numbers).to(device)

        with torch.autocast(device.type, enabled=False):
            x, shown = _cropped(spectrograms, frames, size, uniform("crop", 3), options)
            if options.pitch:
                x = _warped(x, uniform("pitch", 2), options.pitch)
            if options.noise or (options.mix and pool is not None):
                power = (x / _DB).exp()
                if options.noise:
                    power = power + _white(x, shown, uniform("noise", 3), options.noise)
                if options.mix and pool is not None:
                    power = _mixed(power, pool, uniform("mix", 3), options.mix)
                x = power.log() * _DB
            if options.equalise or options.gain:
                x = x + _response(uniform("equalise", 4), x.shape[1], options)
            inside = torch.arange(size, device=device) < shown[:, None]
            x = ((x - self.mean) / self.std) * inside[:, None]
            if options.mask_time:
                x = x.masked_fill(_bands_of(uniform("mask time", 2), shown, size, options.mask_time)[:, None], 0)
            if options.mask_bands:
                bands = torch.full_like(shown, x.shape[1])
                x = x.masked_fill(
                    _bands_of(uniform("mask bands", 2), bands, x.shape[1], options.mask_bands)[:, :, None], 0
                )
        return {"sound": x, "frames": shown}


def _cropped(x: Tensor, frames: Tensor, size: int, numbers: Tensor, options: AudioOptions) -> tuple[Tensor, Tensor]:
    """A part of each clip, stretched: `[b, bands, size]`, and how many of the frames it fills."""
    whole = frames.clamp_max(size).float()
    span = whole * (options.crop_scale + (1 - options.crop_scale) * numbers[:, 0])
    rate = ((2 * numbers[:, 1] - 1) * math.log1p(options.stretch)).exp()
    rate = torch.minimum(rate, size / span)
    shown = (span * rate).round().clamp(1, size).long()
    start = numbers[:, 2] * (frames - span)
    at = start[:, None] + (torch.arange(size, device=x.device) + 0.5) / rate[:, None] - 0.5
    at = torch.minimum(at.clamp_min(0), (frames - 1).float()[:, None])
    left = at.long()
    right = torch.minimum(left + 1, (frames - 1)[:, None])
    share = (at - left)[:, None]
    each = (len(x), x.shape[1], size)
    low, high = (x.gather(2, one[:, None].expand(each)) for one in (left, right))
    return low + share * (high - low), shown


def _warped(x: Tensor, numbers: Tensor, most: float) -> Tensor:
    """Bands moved: stretched by up to 1 + `most` either way, and shifted by up to a fifth of `most` of them all."""
    bands = x.shape[1]
    scale = ((2 * numbers[:, :1] - 1) * math.log1p(most)).exp()
    shift = (2 * numbers[:, 1:] - 1) * most * 0.2 * bands
    band = torch.arange(bands, device=x.device)
    at = (band * scale + shift).clamp(0, bands - 1)  # [b bands]
    weights = (1 - (at[:, :, None] - band).abs()).clamp_min(0)
    found: Tensor = weights @ x
    return found


def _white(x: Tensor, shown: Tensor, numbers: Tensor, probability: float) -> Tensor:
    """Powers of white noise in some of the views, from 20 dB below the mean of their decibels to 5 dB above it."""
    inside = torch.arange(x.shape[2], device=x.device) < shown[:, None]
    mean = (x * inside[:, None]).sum((1, 2)) / (shown * x.shape[1])
    level = torch.where(numbers[:, 0] < probability, ((mean - 20 + 25 * numbers[:, 1]) / _DB).exp(), 0)
    texture, size = _noise(x.shape[1], x.device), x.shape[2]
    starts = (numbers[:, 2] * (texture.shape[1] - size)).long().tolist()
    return torch.stack([texture[:, start : start + size] for start in starts]) * level[:, None, None]


def _mixed(power: Tensor, pool: tuple[Tensor, Tensor], numbers: Tensor, most: float) -> Tensor:
    """Another clip's power for a share of up to `most` of the own; a short one is heard again and again."""
    others, frames = pool
    chosen = (numbers[:, 0] * len(others)).long().clamp_max(len(others) - 1)
    count = frames[chosen]
    start = (numbers[:, 1] * count).long()
    at = (start[:, None] + torch.arange(power.shape[2], device=power.device)) % count[:, None]
    other = others[chosen].gather(2, at[:, None].expand(-1, power.shape[1], -1))
    return torch.lerp(power, other, most * numbers[:, 2, None, None])


def _response(numbers: Tensor, bands: int, options: AudioOptions) -> Tensor:
    """Decibels `[b, bands, 1]` that are added: a gain, and a smooth curve over frequency, as of a microphone."""
    place = torch.linspace(0, 1, bands, device=numbers.device)
    curve = torch.stack([place - 0.5, (math.pi * 2 * place).cos() / 2, (math.pi * 3 * place).sin() / 2])
    drawn = 2 * numbers - 1
    found: Tensor = drawn[:, :1] * options.gain + options.equalise * drawn[:, 1:] @ curve
    return found[:, :, None]


def _bands_of(numbers: Tensor, whole: Tensor, size: int, most: float) -> Tensor:
    """One run of places `[b, size]` in the first `whole` [b], up to a share `most` of them."""
    span = numbers[:, 0] * most * whole
    start = numbers[:, 1] * (whole - span)
    at = torch.arange(size, device=numbers.device)
    return (at >= start[:, None]) & (at < (start + span)[:, None])


@cache
def _noise(bands: int, device: torch.device) -> Tensor:
    """White noise `[bands, frames]` as a spectrogram shows it: powers that are exponentially distributed."""
    drawn = torch.rand(bands, _NOISE_FRAMES, generator=torch.Generator().manual_seed(1))
    return -(1 - drawn).log().to(device)
