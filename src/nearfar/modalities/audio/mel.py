"""Log-mel spectrograms of whole batches, on the device of the sounds.

The values are those of `librosa.power_to_db(librosa.feature.melspectrogram(..., pad_mode="constant"))`: Hann windows,
centred frames, Slaney's mel scale with filters of equal area, decibels of power, and nothing further below a clip's
peak than 80 dB.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

_LEAST = 1e-10
"""Of a power: what is below is silence, at -100 dB."""
_AT_ONCE = 2**24
"""Samples under windows that are transformed at a time: 64 MB, as complex numbers as much again."""
RANGE = 80.0
"""Decibels below a clip's peak at which its spectrogram ends."""
_LINEAR_TO, _PER_MEL, _LOG_STEP = 1000.0, 200 / 3, math.log(6.4) / 27  # Slaney's Auditory Toolbox, 1998


@dataclass(frozen=True)
class Mel:
    """What a spectrogram is made with: `rate` in Hz, `bands`, and a frame of `window` samples every `hop` samples."""

    rate: int
    bands: int
    window: int
    hop: int

    @classmethod
    def of(cls, rate: int, bands: int) -> "Mel":
        """Windows of 25 ms, every 10 ms."""
        return cls(rate, bands, max(2, round(0.025 * rate)), max(1, round(0.01 * rate)))

    @property
    def fft(self) -> int:
        """Samples of a Fourier transform: a power of two that leaves no band without a bin of its own."""
        return int(max(512, 2 ** math.ceil(math.log2(self.window))))

    def frames(self, samples: int) -> int:
        """Frames of a clip of so many samples."""
        return 1 + samples // self.hop

    def hertz(self, share: float) -> float:
        """The frequency at this share of the height of a spectrogram."""
        return float(_hertz(torch.tensor([share * _mels(self.rate / 2)], dtype=torch.float64)))


def log_mel(waves: Tensor, lengths: Tensor, mel: Mel) -> tuple[Tensor, Tensor]:
    """Sounds `[n, t]` of `lengths` [n] samples, zeros behind them, to decibels `[n, bands, frames]` and frames [n].

    int16 stands for -1 to 1. A clip's values do not depend on what else is in the batch; frames behind its end are 0.
    """
    frames = 1 + lengths.to(waves.device) // mel.hop
    together = max(1, _AT_ONCE // (mel.frames(waves.shape[1]) * mel.fft))
    pieces = zip(torch.split(waves, together), torch.split(frames, together), strict=True)
    with torch.autocast(waves.device.type, enabled=False):  # views are made inside that of the encoder
        return torch.cat([_decibels(some, shown, mel) for some, shown in pieces]), frames


def _decibels(waves: Tensor, frames: Tensor, mel: Mel) -> Tensor:
    waves = waves.float() / 32768 if waves.dtype == torch.int16 else waves
    window = torch.hann_window(mel.window, device=waves.device)
    spectrum = torch.stft(
        waves, mel.fft, mel.hop, mel.window, window, center=True, pad_mode="constant", return_complex=True
    )
    power = filterbank(mel, waves.device) @ (spectrum.real.square() + spectrum.imag.square())
    decibels = 10 * power.clamp_min(_LEAST).log10()
    hidden = (torch.arange(decibels.shape[2], device=waves.device) >= frames[:, None])[:, None]
    peak = decibels.masked_fill(hidden, -math.inf).amax((1, 2), keepdim=True)
    return torch.maximum(decibels, peak - RANGE).masked_fill(hidden, 0)


def centred(decibels: Tensor, frames: Tensor) -> Tensor:
    """Spectrograms `[n, bands, t]` less the mean of each band over the first `frames` [n]; zero behind these."""
    inside = torch.arange(decibels.shape[2], device=decibels.device) < frames[:, None]
    mean = decibels.sum(2, keepdim=True) / frames[:, None, None]
    return (decibels - mean) * inside[:, None]


@cache
def filterbank(mel: Mel, device: torch.device) -> Tensor:
    """Triangles `[bands, fft / 2 + 1]` of equal area whose centres are evenly spaced in mel, from 0 Hz to half the
    rate."""
    ends = _hertz(torch.linspace(0, _mels(mel.rate / 2), mel.bands + 2, dtype=torch.float64))
    bins = torch.linspace(0, mel.rate / 2, mel.fft // 2 + 1, dtype=torch.float64)
    widths = ends.diff()[:, None]
    apart = ends[:, None] - bins
    rising, falling = -apart[:-2] / widths[:-1], apart[2:] / widths[1:]
    triangles = torch.minimum(rising, falling).clamp_min(0)
    return (triangles * (2 / (ends[2:] - ends[:-2]))[:, None]).float().to(device)


def _mels(hertz: float) -> float:
    if hertz < _LINEAR_TO:
        return hertz / _PER_MEL
    return _LINEAR_TO / _PER_MEL + math.log(hertz / _LINEAR_TO) / _LOG_STEP


def _hertz(mels: Tensor) -> Tensor:
    turn = _LINEAR_TO / _PER_MEL
    return torch.where(mels < turn, mels * _PER_MEL, _LINEAR_TO * ((mels - turn) * _LOG_STEP).exp())
