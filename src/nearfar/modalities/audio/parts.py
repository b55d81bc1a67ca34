"""What a sound is made of: regions of time and frequency, and what each adds to the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nearfar.contract.parts import Parts, completed, on_grid
from nearfar.modalities.audio.small_cnn import SpectrogramCNN

if TYPE_CHECKING:
    from nearfar.modalities.audio.encoder import AudioEncoder

_ROWS, _COLUMNS = 6, 10
_QUIET = 0.05
"""Share of a clip's frames that are as quiet as what stands where a region is taken away, in each band."""


def parts_of(encoder: AudioEncoder, inputs: Mapping[str, Tensor]) -> Parts:
    """Regions of one spectrogram, high frequencies first; one that is taken away is as quiet as the clip ever is."""
    frames = max(1, int(inputs["frames"][0]))
    sound = inputs["sound"][0, :, :frames]
    grid = min(_ROWS, len(sound)), min(_COLUMNS, frames)
    quiet = sound.float().quantile(_QUIET, dim=1, keepdim=True).to(sound.dtype)

    def without(kept: Tensor) -> dict[str, Tensor]:
        mask = F.interpolate(kept.view(-1, 1, *grid).flip(2).float(), sound.shape, mode="nearest")[:, 0]
        made = sound * mask + quiet * (1 - mask)
        return {"sound": made, "frames": inputs["frames"].expand(len(kept))}

    network: Any = encoder.network
    terms = None
    if isinstance(network, SpectrogramCNN):
        cells = network.terms(inputs["sound"], inputs["frames"])
        terms = completed(on_grid(cells.flip(0), grid), encoder.features(inputs)[0])
    names = [_name(encoder, grid, row, column, frames) for row in range(grid[0]) for column in range(grid[1])]
    return Parts(names=names, without=without, terms=terms, grid=grid, backdrop=_grey(sound))


def _name(encoder: AudioEncoder, grid: tuple[int, int], row: int, column: int, frames: int) -> str:
    """The times and the frequencies of a region."""
    low, high = (encoder.mel.hertz((grid[0] - edge) / grid[0]) for edge in (row + 1, row))
    hop = encoder.mel.hop / encoder.mel.rate
    start, stop = (edge / grid[1] * frames * hop for edge in (column, column + 1))
    return f"{start:.2f} to {stop:.2f} s, {low:.0f} to {high:.0f} Hz"


def _grey(sound: Tensor) -> NDArray[np.uint8]:
    """A spectrogram `[bands, t]` as grey uint8 `[bands, t, 3]`, high frequencies at the top."""
    lowest, largest = sound.min(), sound.max()
    shade = ((sound - lowest) / (largest - lowest).clamp_min(1e-6) * 255).flip(0).to(torch.uint8)
    return np.ascontiguousarray(shade[:, :, None].expand(-1, -1, 3).cpu().numpy())
