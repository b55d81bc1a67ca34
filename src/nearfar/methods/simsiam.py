"""SimSiam: predict the projection of another view by the same networks, whose gradient is stopped there.

Chen & He, "Exploring simple Siamese representation learning", 2021, eq. 1 to 4 and algorithm 1:
z = projector(encoder(view)), p = predictor(z), loss = -cos(p, stopgrad(other view's z)), mean of both directions.

The projector has three layers, the last with a batch norm; the predictor is a bottleneck and its learning rate stays
at the peak (section 4.2 and appendix A). Views pass through the networks one by one, with batch statistics of their
own, as in algorithm 1. Differs from the paper: the last batch norm of the projector and the last layer of the
predictor have no learned shift and scale, widths follow the size of the data when not given.
"""

from dataclasses import dataclass

import torch

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.errors import must
from nearfar.losses import simsiam
from nearfar.methods.batchnorm import in_groups
from nearfar.methods.heads import hidden, mlp
from nearfar.options import UNKNOWN, Choice, Facts, Settling


@dataclass(frozen=True, kw_only=True)
class SimSiamOptions:
    """Options of simsiam; None stands for automatic."""

    projector_hidden: int | None = None
    """Width of the projector's hidden layers."""
    projector_out: int | None = None
    """Dimensions of the space the loss is computed in."""
    predictor_hidden: int | None = None
    """Width of the predictor's hidden layer, a bottleneck."""

    def __post_init__(self) -> None:
        for name, least in (("projector_hidden", 1), ("projector_out", 2), ("predictor_hidden", 1)):
            width = getattr(self, name)
            must(width is None or width >= least, f"{name} must be at least {least}", got=width)


class SimSiam(Method):
    """An encoder with projector and predictor, each view's prediction drawn to the other's projection."""

    Options = SimSiamOptions
    rate = 2.0
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: SimSiamOptions) -> None:
        super().__init__(encoder)
        options, _ = self.settle(options, UNKNOWN, encoder)
        assert options.projector_hidden is not None
        assert options.projector_out is not None
        assert options.predictor_hidden is not None
        hidden, out = options.projector_hidden, options.projector_out
        self.projector = mlp(encoder.dim, hidden, hidden, out, last_norm=True)
        self.predictor = mlp(out, options.predictor_hidden, out)
        for parameter in self.predictor.parameters():
            parameter.nearfar_tags = {"fixed_lr": True}  # type: ignore[attr-defined]

    @classmethod
    def settle(cls, options: SimSiamOptions, facts: Facts, encoder: Encoder) -> tuple[SimSiamOptions, list[Choice]]:
        """Fill in what was not given: widths by the number of samples, the bottleneck a quarter of the output's."""
        settling = Settling(options)
        width, why = hidden(encoder, facts)
        for name in ("projector_hidden", "projector_out"):
            settling.choose(name, min(2048, width), why)
        assert settling.options.projector_out is not None
        settling.choose("predictor_hidden", max(1, settling.options.projector_out // 4), "a quarter of projector_out")
        return settling.options, settling.choices

    def embed(self, views: Views) -> Latents:
        """Predictions `p` [v b d] of each view, and the projections `z` [v b d] that are predicted."""
        features = in_groups(self.encoder, views)  # [v b dim]
        z = torch.stack([self.projector(view) for view in features])
        p = torch.stack([self.predictor(view) for view in z])
        return Latents(p=p, z=z.detach(), features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """Each prediction against the projections of the sample's other views."""
        return Losses(simsiam(z["p"], z["z"], rows=batch.rows))


METHOD = SimSiam
