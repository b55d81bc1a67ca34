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

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.losses import byol
from nearfar.methods import momentum
from nearfar.methods.batchnorm import in_groups
from nearfar.methods.heads import apart, mlp
from nearfar.methods.options import BYOLOptions
from nearfar.methods.sizes import momentum_for, predictor_width
from nearfar.options import Facts, Settling


class BYOL(Method):
    """An encoder with projector and predictor, and the copy of encoder and projector that it predicts."""

    Options = BYOLOptions
    options: BYOLOptions
    rate = 2.0
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: BYOLOptions | None = None) -> None:
        super().__init__(encoder, options)
        out = self.options.projector_out
        self.projector = mlp(encoder.dim, self.options.projector_hidden, out, last_norm=True)
        self.predictor = mlp(out, self.options.predictor_hidden, out)
        self.target_encoder = momentum.frozen_copy(encoder)
        self.target_projector = momentum.frozen_copy(self.projector)

    @classmethod
    def choose(cls, settling: Settling[BYOLOptions], facts: Facts, encoder: Encoder) -> None:
        """The hidden layers' width and the momentum by the number of samples."""
        for name in ("projector_hidden", "predictor_hidden"):
            settling.choose(name, *predictor_width(encoder, facts))
        settling.choose("momentum", *momentum_for(facts.samples))

    def embed(self, views: Views) -> Latents:
        """Predictions `p` [v b d] of each view."""
        features = in_groups(self.encoder, views)  # [v b dim]
        return Latents(p=apart(lambda view: self.predictor(self.projector(view)), features), features=features)

    def targets(self, views: Views) -> Latents:
        """Projections `y` [v b d] of each view by the target networks."""
        return Latents(y=apart(self.target_projector, in_groups(self.target_encoder, views)))

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """Each prediction against the targets of the sample's other views."""
        return Losses(byol(z["p"], z["y"], rows=batch.rows))

    def after_step(self, z: Latents, batch: Batch) -> None:
        """The target networks follow."""
        m = momentum.scheduled(batch.progress, self.options.momentum)
        momentum.update(self.target_encoder, self.encoder, m)
        momentum.update(self.target_projector, self.projector, m)


METHOD = BYOL
