"""What a page shows of a sound: its spectrogram as a picture, and the sound itself, small enough to lie in the page."""

import io

import numpy as np
import torch
from torch import Tensor

from nearfar.modalities.audio.decode import resampled, soundfile
from nearfar.modalities.audio.mel import RANGE, Mel, log_mel

_BANDS = 48
_WIDEST = 96  # pixels
_HEARD = 4.0  # seconds of the middle that are heard
_RATES = (8_000, 11_025, 12_000, 16_000)  # of MP3; more would only be larger
_COLOURS = np.array(
    [
        [13, 8, 60],
        [84, 2, 163],
        [139, 10, 165],
        [185, 50, 137],
        [219, 92, 104],
        [244, 136, 73],
        [254, 188, 43],
        [240, 249, 33],
    ]
)  # of matplotlib's plasma


def card_of(wave: Tensor, rate: int) -> tuple[bytes, bytes]:
    """A picture of a sound's spectrogram and its middle as an encoded file; `wave` is int16 `[t]`."""
    decibels, _ = log_mel(wave[None], torch.tensor([len(wave)]), Mel.of(rate, _BANDS))
    top = float(decibels.amax())
    return spectrogram_picture(1 + (decibels[0] - top) / RANGE), encoded_sound(wave, rate)


def spectrogram_picture(shares: Tensor) -> bytes:
    """A spectrogram `[bands, frames]` of values from 0 to 1 as a picture, low frequencies at the bottom."""
    from PIL import Image

    at = shares.clamp(0, 1).flip(0).numpy() * (len(_COLOURS) - 1)
    low = np.minimum(at.astype(np.int64), len(_COLOURS) - 2)
    part = (at - low)[:, :, None]
    pixels = (_COLOURS[low] * (1 - part) + _COLOURS[low + 1] * part).round().astype(np.uint8)
    image = Image.fromarray(pixels)
    if image.width > _WIDEST:
        image = image.resize((_WIDEST, image.height), Image.Resampling.BOX)
    elif image.width < image.height:
        image = image.resize((image.height, image.height), Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=70, method=2)
    return file.getvalue()


def encoded_sound(wave: Tensor, rate: int) -> bytes:
    """The middle of a sound as MP3, which all browsers play, at one of its rates."""
    most = round(_HEARD * rate)
    start = max(0, (len(wave) - most) // 2)
    heard, to = wave[start : start + most].numpy(), max(one for one in _RATES if one <= max(rate, _RATES[0]))
    if to != rate:
        heard = resampled(heard, rate, to)
    file = io.BytesIO()
    soundfile().write(file, heard, to, format="MP3")
    return file.getvalue()
