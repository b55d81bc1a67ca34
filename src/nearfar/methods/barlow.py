"""Barlow Twins: the cross-correlation of two views' dimensions is pushed to the identity.

Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", 2021, eq. 1 and 2, algorithm 1:
C = correlation of z1's dimensions with z2's over the batch, loss = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2.
Each view passes through the networks by itself, with batch statistics of its own.

Differs from the paper: the loss is a multiple of its mean over dimensions, not its sum, so that SGD's usual learning
rate fits at any width (LARS, the paper's optimiser, hardly notices); the projector is as wide as suits the encoder and
the data, not always 8192.
"""

from dataclasses import dataclass

import torch

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.errors import must
from nearfar.losses import barlow_twins
from nearfar.methods.batchnorm import in_groups
from nearfar.methods.heads import mlp, wide
from nearfar.options import UNKNOWN, Choice, Facts, Settling

_SCALE = 2.0
"""Of the mean over dimensions: at SGD's usual rate and a width of 512, 1, 2 and 5 learn digits alike."""


@dataclass(frozen=True, kw_only=True)
class BarlowOptions:
    """Options of barlow; None stands for automatic."""

    redundancy: float = 5e-3
    """Weight of the correlations of different dimensions."""
    projector_hidden: int | None = None
    """Width of the projector's two hidden layers."""
    projector_out: int | None = None
    """Dimensions that are decorrelated."""

    def __post_init__(self) -> None:
        must(self.redundancy >= 0, "redundancy must be 0 or more", got=self.redundancy)
        for name, least in (("projector_hidden", 1), ("projector_out", 2)):
            width = getattr(self, name)
            must(width is None or width >= least, f"{name} must be at least {least}", got=width)


class Barlow(Method):
    """An encoder with a projector of three layers, under the loss of Barlow Twins."""

    Options = BarlowOptions
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: BarlowOptions) -> None:
        super().__init__(encoder)
        options, _ = self.settle(options, UNKNOWN, encoder)
        assert options.projector_hidden is not None
        assert options.projector_out is not None
        self.redundancy = options.redundancy
        self.projector = mlp(encoder.dim, options.projector_hidden, options.projector_hidden, options.projector_out)

    @classmethod
    def settle(cls, options: BarlowOptions, facts: Facts, encoder: Encoder) -> tuple[BarlowOptions, list[Choice]]:
        """Fill in what was not given: a projector as wide as suits the encoder and the data."""
        settling = Settling(options)
        for name in ("projector_hidden", "projector_out"):
            settling.choose(name, *wide(encoder, facts))
        return settling.options, settling.choices

    def embed(self, views: Views) -> Latents:
        """Project the features of each view, which passes through the networks alone."""
        features = in_groups(self.encoder, views)  # [v b dim]
        return Latents(z=torch.stack([self.projector(view) for view in features]), features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The loss of all ranks' views together: of it, this rank's share."""
        first, second = z["z"]  # [n d] each
        whole = barlow_twins(first, second, redundancy=self.redundancy) / first.shape[1]
        return Losses(_SCALE * whole / batch.world)


METHOD = Barlow
