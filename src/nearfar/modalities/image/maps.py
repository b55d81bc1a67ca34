"""Feature maps of a network over pictures `[n, c, h, w]`, and its features by the same pass."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nearfar.contract import Map


def maps_of(network: Any, pictures: Tensor) -> list[Map] | None:
    """The map of each stage of a network that convolves, finest first; of a transformer, that of its last block.

    None where the network gives none.
    """
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    if hasattr(network, "maps"):
        return _with_strides(network.maps(pictures), pictures)
    if hasattr(network, "forward_intermediates"):
        found = network.forward_intermediates(pictures, intermediates_only=True, output_fmt="NCHW")
        return _with_strides(found, pictures)
    return None


def features_and_maps_of(network: Any, pictures: Tensor) -> tuple[Tensor, list[Map]] | None:
    """Features `[n, dim]` and the maps of the same pass; None where the network gives no maps."""
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    if hasattr(network, "features_and_maps"):
        features, found = network.features_and_maps(pictures)
    elif hasattr(network, "forward_intermediates"):
        last, found = network.forward_intermediates(pictures, output_fmt="NCHW")
        features = network.forward_head(last)
    else:
        return None
    return features, _with_strides(found, pictures)


def _with_strides(maps: Sequence[Tensor], pictures: Tensor) -> list[Map]:
    """One map of each stride, the last where there are several, finest first."""
    by_stride = {max(1, round(pictures.shape[-1] / values.shape[-1])): values for values in maps}
    return [Map(values, stride) for stride, values in sorted(by_stride.items())]
