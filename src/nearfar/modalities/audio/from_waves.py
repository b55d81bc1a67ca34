"""Networks over whole clips as programs: no choice depends on what is in them, Fourier transforms are products."""

import math

import torch
from torch import Tensor, nn

from nearfar.modalities.audio.encoder import Windows
from nearfar.modalities.audio.mel import RANGE, Mel, centred, filterbank

_LEAST = 1e-10


class AllWindows(nn.Module):
    """As `Windows`, but that windows behind the end of a clip pass through the network too, and count nothing."""

    def __init__(self, windows: Windows) -> None:
        super().__init__()
        self.windows = windows

    def forward(self, sound: Tensor, frames: Tensor) -> Tensor:
        """Spectrograms `[n, bands, t]` of `frames` [n] to vectors `[n, dim]`."""
        size = self.windows.size
        pieces = self.windows.cut(sound)
        count = pieces.shape[1]
        filled = (frames[:, None] - size * torch.arange(count, device=frames.device)).clamp(0, size)
        vectors = self.windows.network(pieces.flatten(0, 1)[:, None]).unflatten(0, (-1, count))
        weights = (filled / filled.sum(1, keepdim=True)).to(vectors.dtype)
        found: Tensor = (vectors * weights[:, :, None]).sum(1)
        return found


class FromWaves(nn.Module):
    """A network behind the normalised log-mel spectrograms of waves, as `AudioEncoder.prepare` makes them."""

    basis: Tensor
    bank: Tensor

    def __init__(self, network: nn.Module, mel: Mel, mean: float, std: float, *, by_clip: bool) -> None:
        super().__init__()
        self.network = network
        self.mel = mel
        self.mean, self.std, self.by_clip = mean, std, by_clip
        left = (mel.fft - mel.window) // 2
        window = nn.functional.pad(
            torch.hann_window(mel.window, dtype=torch.float64), (left, mel.fft - mel.window - left)
        )
        angles = (
            2
            * math.pi
            / mel.fft
            * torch.outer(torch.arange(mel.fft // 2 + 1), torch.arange(mel.fft)).remainder(mel.fft)
        )
        both = torch.cat([angles.double().cos(), angles.double().sin()]) * window
        self.register_buffer("basis", both.float()[:, None])
        self.register_buffer("bank", filterbank(mel, torch.device("cpu")))

    def forward(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Waves `[n, t]` of [-1, 1], zero behind their `lengths` [n] in samples, to vectors `[n, dim]`."""
        mel = self.mel
        spectrum = nn.functional.conv1d(
            nn.functional.pad(waves, (mel.fft // 2,) * 2)[:, None], self.basis, stride=mel.hop
        )
        real, imaginary = spectrum.square().chunk(2, dim=1)
        decibels = 10 * (self.bank @ (real + imaginary)).clamp_min(_LEAST).log10()
        frames = 1 + lengths // mel.hop
        inside = (torch.arange(decibels.shape[2], device=waves.device) < frames[:, None])[:, None]
        peak = torch.where(inside, decibels, -1e9).amax((1, 2), keepdim=True)
        decibels = torch.where(inside, torch.maximum(decibels, peak - RANGE), 0)
        if self.by_clip:
            decibels = centred(decibels, frames)
        found: Tensor = self.network((decibels - self.mean) / self.std * inside, frames)
        return found
