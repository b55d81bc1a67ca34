"""BYOL: predict a slow copy's projection of another view; no negatives.

Grill et al., "Bootstrap your own latent: a new approach to self-supervised learning", 2020, eq. 1, 2 and section 3.3:
p = predictor(projector(encoder(view))), y = projector'(encoder'(other view)), loss = 2 - 2 cos(p, y), both directions
summed; the target networks, primed, follow the others by an exponential moving average whose momentum rises to 1.

Views pass through the networks one by one, with batch statistics of their own, as in the paper's code; the target
networks keep running statistics of their own. Differs from the paper: the projector ends in a batch norm, since what
an untrained one makes of any two samples is nearly alike and a short run spends its steps on telling them apart
(MoCo v3 has it there too: Chen et al., 2021); widths and the momentum's start follow the size of the data
when not given.
"""

from dataclasses import dataclass

import torch

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.errors import must
from nearfar.losses import byol
from nearfar.methods import momentum
from nearfar.methods.batchnorm import in_groups
from nearfar.methods.heads import hidden, mlp
from nearfar.options import UNKNOWN, Choice, Facts, Settling


@dataclass(frozen=True, kw_only=True)
class BYOLOptions:
    """Options of byol; None stands for automatic."""

    projector_hidden: int | None = None
    """Width of the projector's hidden layer."""
    projector_out: int = 256
    """Dimensions of the space the loss is computed in."""
    predictor_hidden: int | None = None
    """Width of the predictor's hidden layer."""
    momentum: float | None = None
    """Share of itself that the target keeps at each step, at the run's start; rises to 1."""

    def __post_init__(self) -> None:
        for name in ("projector_hidden", "predictor_hidden"):
            width = getattr(self, name)
            must(width is None or width >= 1, f"{name} must be at least 1", got=width)
        must(self.projector_out >= 2, "projector_out must be at least 2", got=self.projector_out)
        must(self.momentum is None or 0 <= self.momentum <= 1, "momentum must be between 0 and 1", got=self.momentum)


class BYOL(Method):
    """An encoder with projector and predictor, and the copy of encoder and projector that it predicts."""

    Options = BYOLOptions
    rate = 2.0
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: BYOLOptions) -> None:
        super().__init__(encoder)
        options, _ = self.settle(options, UNKNOWN, encoder)
        assert options.projector_hidden is not None
        assert options.predictor_hidden is not None
        assert options.momentum is not None
        self.momentum = options.momentum
        self.projector = mlp(encoder.dim, options.projector_hidden, options.projector_out, last_norm=True)
        self.predictor = mlp(options.projector_out, options.predictor_hidden, options.projector_out)
        self.target_encoder = momentum.lagging(encoder)
        self.target_projector = momentum.lagging(self.projector)

    @classmethod
    def settle(cls, options: BYOLOptions, facts: Facts, encoder: Encoder) -> tuple[BYOLOptions, list[Choice]]:
        """Fill in what was not given: the hidden layers' width and the momentum by the number of samples."""
        settling = Settling(options)
        for name in ("projector_hidden", "predictor_hidden"):
            settling.choose(name, *hidden(encoder, facts))
        settling.choose("momentum", momentum.for_samples(facts.samples), f"for {facts.samples:,} samples")
        return settling.options, settling.choices

    def embed(self, views: Views) -> Latents:
        """Predictions `p` [v b d] of each view."""
        features = in_groups(self.encoder, views)  # [v b dim]
        return Latents(p=torch.stack([self.predictor(self.projector(view)) for view in features]), features=features)

    def targets(self, views: Views) -> Latents:
        """Projections `y` [v b d] of each view by the target networks."""
        seen = in_groups(self.target_encoder, views)
        return Latents(y=torch.stack([self.target_projector(features) for features in seen]))

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """Each prediction against the targets of the sample's other views."""
        return Losses(byol(z["p"], z["y"], rows=batch.rows))

    def after_step(self, z: Latents, batch: Batch) -> None:
        """The target networks follow."""
        share = momentum.rising(batch.progress, self.momentum)
        momentum.follow(self.target_encoder, self.encoder, share)
        momentum.follow(self.target_projector, self.projector, share)


METHOD = BYOL
