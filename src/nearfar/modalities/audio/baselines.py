"""What an encoder of sounds must beat beside the raw input: cepstra of the parts of a clip."""

import math

import torch
from torch import Tensor

from nearfar.contract import Source
from nearfar.contract.baseline import Baseline
from nearfar.modalities.audio.mel import Mel
from nearfar.modalities.audio.small_cnn import means_of_parts
from nearfar.modalities.audio.source import AudioSource

_BANDS = 64
_COEFFICIENTS = 20
_PARTS = 8


class SegmentCepstra(Baseline):
    """Twenty mel-frequency cepstral coefficients, averaged over each of eight equal parts of a clip: `[N, 160]`."""

    name = "segment MFCC"

    def vectors(self, source: Source) -> Tensor:
        """Vectors of the usable sounds."""
        assert isinstance(source, AudioSource)
        transform = cosines(_COEFFICIENTS, _BANDS)
        found = [torch.empty(0, _PARTS * _COEFFICIENTS)]
        for decibels, frames in source.spectrograms(Mel.of(source.rate, _BANDS)):
            found.append(means_of_parts(transform @ decibels, frames, _PARTS))
        return torch.cat(found)


def cosines(count: int, bands: int) -> Tensor:
    """The first rows `[count, bands]` of the orthonormal discrete cosine transform, type II."""
    place = (torch.arange(bands, dtype=torch.float64) + 0.5) * math.pi / bands
    rows = (torch.arange(count, dtype=torch.float64)[:, None] * place).cos() * math.sqrt(2 / bands)
    rows[0] /= math.sqrt(2)
    return rows.float()
