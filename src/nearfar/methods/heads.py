"""Heads: small networks between an encoder's features and the space in which a loss compares."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.contract import Encoder, Latents, Method, Views
from nearfar.memory import check_weights
from nearfar.methods.sizes import projector_width
from nearfar.options import Facts, Settling

_CURE = "projector_hidden, projector_out, predictor_hidden or number of prototypes"


def mlp(*dims: int, norm: bool = True, last_norm: bool = False) -> nn.Sequential:
    """Linear layers of widths `dims`, batch norm and ReLU between them; no bias where a norm would cancel it.

    `last_norm` adds a batch norm without affine parameters at the end (SimCLR v2 code, BYOL's and SimSiam's heads).
    Without `norm` there is ReLU alone between the layers, and they have biases (MoCo v2's head). Raises ConfigError for
    layers that do not fit into the free memory.
    """
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(dims)):
        check_weights(inputs * outputs, _CURE, trained=True)
        layers.append(nn.Linear(inputs, outputs, bias=not norm))
        if i < len(dims) - 2:
            layers += [nn.BatchNorm1d(outputs)] if norm else []
            layers.append(nn.ReLU(inplace=True))
        elif last_norm:
            layers.append(nn.BatchNorm1d(outputs, affine=False))
    return nn.Sequential(*layers)


class Prototypes(nn.Module):
    """K unit vectors; scores are their cosines with latents. They live in the loss stage.

    Kept at their length by dividing by it, without weight decay, which could only change that length.
    `frozen_until` is the share of the run before which they stay as they are.
    """

    def __init__(self, dim: int, count: int, *, frozen_until: float = 0.0) -> None:
        super().__init__()
        check_weights(dim * count, _CURE, trained=True)
        self.weight = nn.Parameter(normalize(torch.randn(count, dim), dim=-1))
        self.weight.nearfar_tags = {"decay": False, "frozen_until": frozen_until}  # type: ignore[attr-defined]

    def forward(self, z: Tensor) -> Tensor:
        """Cosines `[..., K]` of latents `[..., dim]` with the prototypes."""
        return normalize(z, dim=-1) @ normalize(self.weight, dim=-1).T


class Projected(Method):
    """A method whose one latent `z` [v b d] is the projected features of all views.

    It defines the loss, and may have a projector of its own (`head`) where its options are not `ProjectorOptions`.
    """

    def __init__(self, encoder: Encoder, options: Any = None) -> None:
        super().__init__(encoder, options)
        self.projector: nn.Module = self.head() if encoder.projected else nn.Identity()

    @property
    def width(self) -> int:
        """The length of its latent."""
        return (self.options.projector_out if self.encoder.projected else 0) or self.encoder.dim

    def head(self) -> nn.Sequential:
        """The projector under the method's options: one hidden layer, or none at all."""
        if not self.options.projector_out:
            return nn.Sequential()
        return mlp(self.encoder.dim, self.options.projector_hidden, self.options.projector_out)

    @classmethod
    def compares_features(cls, options: Any) -> bool:
        """Where there is no projector."""
        return not options.projector_out

    @classmethod
    def choose(cls, settling: Settling[Any], facts: Facts, encoder: Encoder) -> None:
        """The hidden layer as wide as suits the encoder."""
        width, why = projector_width(encoder)
        settling.choose("projector_hidden", width, why if encoder.projected else "")

    def embed(self, views: Views) -> Latents:
        """Project the features of all views, which pass through the networks together."""
        features = self.encoder(views)  # [v b dim]
        return Latents(z=together(self.projector, features), features=features)


def together(network: nn.Module, features: Tensor) -> Tensor:
    """A network of vectors on features `[v b dim]` of all views together, which share batch statistics."""
    found: Tensor = network(features.flatten(0, 1))
    return found.view(*features.shape[:2], -1)


def apart(network: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    """A network of vectors on features `[v b dim]`, each view with batch statistics of its own."""
    return torch.stack([network(view) for view in features])


def learned(start: float, *, sgd_rate: float = 0.001) -> nn.Parameter:
    """A scalar of the loss stage, such as the logarithm of a scale: free of weight decay.

    Under sgd it takes the share `sgd_rate` of the learning rate: its gradient sums over the whole batch, and at the
    full rate CLIP's scale runs from 5 to 100 within a hundred steps (digits, batches of 256, rate 0.25).
    """
    parameter = nn.Parameter(torch.tensor(float(start)))
    parameter.nearfar_tags = {"decay": False, "sgd_rate": sgd_rate}  # type: ignore[attr-defined]
    return parameter
