"""Sounds made for a test."""

import io

import numpy as np
import soundfile

from nearfar.modalities.audio import MODALITY
from nearfar.modalities.opening import open_source

RATE = 8000


def tone(hertz=440.0, seconds=0.25, rate=RATE, loud=0.3):
    """A sine `[t]`."""
    return loud * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def encode(wave, rate=RATE, **how):
    """A sound as the content of a file, WAV where nothing else is said."""
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate, **{"format": "WAV", **how})
    return stream.getvalue()


def folder_of(folder, waves, rate=RATE):
    """A folder of WAV files, named by their numbers."""
    for i, wave in enumerate(waves):
        soundfile.write(folder / f"{i:02}.wav", wave, rate)
    return str(folder)


def open_sounds(data, **how):
    return open_source(MODALITY, data, least=1, **how)
