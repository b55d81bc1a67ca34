"""What a picture is made of: the cells of a grid, and what each adds to the features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.contract.parts import Parts, completed, on_grid
from nearfar.errors import ConfigError
from nearfar.modalities.image.resnet import ResNet, coarse
from nearfar.modalities.network import OwnNetwork

if TYPE_CHECKING:
    from nearfar.modalities.image.encoder import ImageEncoder

_SIDE = 8
"""Cells a side, where the network's own cells do not say otherwise."""
_FEWEST = 5
_POOLINGS = ("AdaptiveAvgPool2d", "SelectAdaptivePool2d", "FastAdaptiveAvgPool", "FastGlobalAvgPool2d")
"""Layers of torch and timm that take the mean of a map."""


def parts_of(encoder: ImageEncoder, inputs: Tensor) -> Parts:
    """The cells of one picture `[1, c, s, s]`; a cell that is taken away is blurred until nothing is left to see."""
    maps = [] if (tokens := _tokens(encoder, inputs)) is None else [tokens]
    side = _side(inputs.shape[-1], maps[0].shape[0] if maps else 0)
    grid = (side, side)
    blurred = F.interpolate(F.adaptive_avg_pool2d(inputs, 2), inputs.shape[-2:], mode="bilinear")

    def without(kept: Tensor) -> Tensor:
        mask = F.interpolate(kept.view(-1, 1, *grid).float(), inputs.shape[-2:], mode="nearest")
        return inputs * mask + blurred * (1 - mask)

    terms = _terms(encoder, inputs, tokens, grid)
    cells = None if terms is not None or tokens is None else on_grid(tokens, grid)
    names = [f"row {row + 1}, column {column + 1}" for row in range(side) for column in range(side)]
    return Parts(names=names, without=without, terms=terms, tokens=cells, grid=grid, backdrop=_pixels(encoder, inputs))


def _side(size: int, tokens: int) -> int:
    """Cells a side of the grid: such that whole tokens fall into each where that can be."""
    fitting = next((side for side in range(_SIDE, _FEWEST - 1, -1) if tokens % side == 0), _SIDE) if tokens else _SIDE
    return max(1, min(fitting, size // 2))


def _pixels(encoder: ImageEncoder, inputs: Tensor) -> NDArray[np.uint8]:
    """What the encoder sees, as uint8 `[h, w, 3]`."""
    mean, std = (torch.tensor(encoder.config[name])[:, None, None] for name in ("mean", "std"))
    pixels = ((inputs[0].float().cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    shown = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
    return np.ascontiguousarray(shown.permute(1, 2, 0).numpy())


def _tokens(encoder: ImageEncoder, inputs: Tensor) -> Tensor | None:
    """The tokens of a transformer as a map `[h, w, d]`; None where it has none."""
    try:
        tokens = encoder.tokens(inputs)[0]
    except ConfigError:
        return None
    side = round(len(tokens) ** 0.5)
    return tokens.view(side, side, -1) if side * side == len(tokens) else None


def _terms(encoder: ImageEncoder, inputs: Tensor, tokens: Tensor | None, grid: tuple[int, int]) -> Tensor | None:
    """What each cell adds to the features; None where these are no sum over cells."""
    network: Any = encoder.network
    if isinstance(network, ResNet) and network.pool == "stages":
        shown = inputs.contiguous(memory_format=torch.channels_last)
        pieces = [piece for found in network.stem_and_stages(shown) for piece in _mean_and_spread(found[0], grid)]
        return completed(torch.cat(pieces, dim=1), encoder.features(inputs)[0])
    with _pooled(network) as maps:
        features = encoder.features(inputs)[0]
    if hasattr(network, "maps"):
        maps.append(network.maps(inputs)[-1])
    if isinstance(network, OwnNetwork):
        maps.append(network.module(inputs))
    candidates = [found[0].permute(1, 2, 0) for found in maps if found.ndim == 4]
    for found in candidates + ([] if tokens is None else [tokens]):
        terms = on_grid(found / (found.shape[0] * found.shape[1]), grid)
        for made in (terms, _normed(network, terms)):
            if made is not None and _adds_up(made, features):
                return completed(made, features)
    return None


def _adds_up(terms: Tensor, features: Tensor) -> bool:
    """Whether terms are those of the features, but for rounding."""
    if terms.shape[1] != len(features):
        return False
    return bool((terms.sum(0) - features).norm() <= 1e-3 * features.norm())


@contextmanager
def _pooled(network: nn.Module) -> Iterator[list[Tensor]]:
    """What goes into layers that take the mean of a map, as long as this lasts."""
    found: list[Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, given: found.append(given[0]))
        for module in network.modules()
        if type(module).__name__ in _POOLINGS
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _normed(network: Any, terms: Tensor) -> Tensor | None:
    """Terms behind the norm that follows the pooling, as timm has it: its scale is that of the sum."""
    head = getattr(network, "head", None)
    norm = next((one for one in (getattr(network, "fc_norm", None), getattr(head, "norm", None)) if one), None)
    if not isinstance(norm, nn.LayerNorm) or norm.normalized_shape != (terms.shape[1],):
        return None
    apart = terms - terms.mean(1, keepdim=True)
    made = apart / (apart.sum(0).square().mean() + norm.eps).sqrt()
    if norm.weight is not None:
        made = made * norm.weight
    return made if norm.bias is None else made + norm.bias / len(terms)


def _mean_and_spread(found: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What each cell adds to the mean and to the spread of a map `[c, h, w]`; to this by its share of the variance."""
    x = coarse(found[None])[0].permute(1, 2, 0)
    apart = (x - x.mean((0, 1))).square() / x[..., 0].numel()
    spread = (apart.sum((0, 1)) + 1e-4).sqrt()
    return on_grid(x / x[..., 0].numel(), grid), on_grid(apart / spread, grid)
