"""VICReg: views agree, every dimension varies, and no two dimensions say the same.

Bardes, Ponce & LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", 2022,
eq. 1 to 6, algorithm 1: loss = lambda s(z1, z2) + mu (v(z1) + v(z2)) + nu (c(z1) + c(z2)), z the expanded features.
Each view passes through the networks by itself, with batch statistics of its own.

Differs from the paper: the loss is scaled, so that SGD's usual learning rate fits (LARS, the paper's optimiser, hardly
notices); the projector, there called expander, is as wide as suits the encoder and the data, not always 8192. The
weight of v is that of eq. 6; the authors' code halves v(z1) + v(z2), which is `variance=12.5` here.
"""

from dataclasses import dataclass

import torch

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.errors import must
from nearfar.losses import vicreg
from nearfar.methods.batchnorm import in_groups
from nearfar.methods.heads import mlp, wide
from nearfar.options import UNKNOWN, Choice, Facts, Settling

_SCALE = 0.1
"""As in solo-learn's recipes; at SGD's usual rate and a width of 256, a fifth and four times of it learn digits less
well."""


@dataclass(frozen=True, kw_only=True)
class VICRegOptions:
    """Options of vicreg; None stands for automatic."""

    invariance: float = 25.0
    """Weight of the distance between views."""
    variance: float = 25.0
    """Weight of what dimensions lack of a standard deviation of 1."""
    covariance: float = 1.0
    """Weight of the covariances of different dimensions."""
    projector_hidden: int | None = None
    """Width of the projector's two hidden layers."""
    projector_out: int | None = None
    """Dimensions that are decorrelated."""

    def __post_init__(self) -> None:
        for name in ("invariance", "variance", "covariance"):
            weight = getattr(self, name)
            must(weight >= 0, f"{name} must be 0 or more", got=weight)
        for name, least in (("projector_hidden", 1), ("projector_out", 2)):
            width = getattr(self, name)
            must(width is None or width >= least, f"{name} must be at least {least}", got=width)


class VICReg(Method):
    """An encoder with a projector of three layers, under the loss of VICReg."""

    Options = VICRegOptions
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: VICRegOptions) -> None:
        super().__init__(encoder)
        options, _ = self.settle(options, UNKNOWN, encoder)
        assert options.projector_hidden is not None
        assert options.projector_out is not None
        self.weights = {name: getattr(options, name) for name in ("invariance", "variance", "covariance")}
        self.projector = mlp(encoder.dim, options.projector_hidden, options.projector_hidden, options.projector_out)

    @classmethod
    def settle(cls, options: VICRegOptions, facts: Facts, encoder: Encoder) -> tuple[VICRegOptions, list[Choice]]:
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
        return Losses(_SCALE * vicreg(first, second, **self.weights) / batch.world)


METHOD = VICReg
