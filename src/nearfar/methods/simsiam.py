"""SimSiam: predict the projection of another view by the same networks, whose gradient is stopped there.

Chen & He, "Exploring simple Siamese representation learning", 2021, eq. 1 to 4 and algorithm 1:
z = projector(encoder(view)), p = predictor(z), loss = -cos(p, stopgrad(other view's z)), mean of both directions.

The projector has three layers, the last with a batch norm; the predictor is a bottleneck and its learning rate stays
at the peak (section 4.2 and appendix A). Views pass through the networks one by one, with batch statistics of their
own, as in algorithm 1. Differs from the paper: the last batch norm of the projector and the last layer of the
predictor have no learned shift and scale, widths follow the size of the data when not given.
"""

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.losses import simsiam
from nearfar.methods.batchnorm import in_groups
from nearfar.methods.heads import apart, mlp
from nearfar.methods.options import SimSiamOptions
from nearfar.methods.sizes import predictor_width
from nearfar.options import Facts, Settling


class SimSiam(Method):
    """An encoder with projector and predictor, each view's prediction drawn to the other's projection."""

    Options = SimSiamOptions
    options: SimSiamOptions
    rate = 2.0
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: SimSiamOptions | None = None) -> None:
        super().__init__(encoder, options)
        hidden, out = self.options.projector_hidden, self.options.projector_out
        self.projector = mlp(encoder.dim, hidden, hidden, out, last_norm=True)
        self.predictor = mlp(out, self.options.predictor_hidden, out)
        for parameter in self.predictor.parameters():
            parameter.nearfar_tags = {"fixed_lr": True}  # type: ignore[attr-defined]

    @classmethod
    def choose(cls, settling: Settling[SimSiamOptions], facts: Facts, encoder: Encoder) -> None:
        """Widths by the number of samples, the bottleneck a quarter of the output's."""
        width, why = predictor_width(encoder, facts)
        for name in ("projector_hidden", "projector_out"):
            settling.choose(name, min(2048, width), why)
        settling.choose("predictor_hidden", max(1, settling.options.projector_out // 4), "a quarter of projector_out")

    def embed(self, views: Views) -> Latents:
        """Predictions `p` [v b d] of each view, and the projections `z` [v b d] that are predicted."""
        features = in_groups(self.encoder, views)  # [v b dim]
        z = apart(self.projector, features)
        return Latents(p=apart(self.predictor, z), z=z.detach(), features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """Each prediction against the projections of the sample's other views."""
        return Losses(simsiam(z["p"], z["z"], rows=batch.rows))


METHOD = SimSiam
