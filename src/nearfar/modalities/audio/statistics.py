"""Mean and spread of the spectrograms of some sounds."""

import numpy as np
import torch

from nearfar.modalities.audio.encoder import AudioEncoder
from nearfar.modalities.audio.source import AudioSource

_MEASURED = 512


def statistics(source: AudioSource, encoder: AudioEncoder) -> tuple[float, float]:
    """Mean and standard deviation in decibels over all bands and frames of up to 512 sounds, evenly spread."""
    total = square = count = 0.0
    for rows in np.array_split(source.samples.probe(_MEASURED), 4):
        waves, lengths, places = source.waves(rows)
        if not len(places):
            continue
        decibels, frames = encoder.decibels(waves, lengths)
        inside = (torch.arange(decibels.shape[2], device=frames.device) < frames[:, None])[:, None]
        values = decibels[inside.expand_as(decibels)].double()
        total, square, count = total + float(values.sum()), square + float(values.square().sum()), count + len(values)
    mean = total / max(count, 1)
    spread = (square / max(count, 1) - mean**2) ** 0.5
    return round(mean, 4), round(max(spread, 1e-3), 4)
