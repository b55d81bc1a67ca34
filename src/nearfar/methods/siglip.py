"""SigLIP: each pair of sides of the batch is asked by itself whether it belongs to one sample.

Zhai et al., "Sigmoid loss for language image pre-training", 2023, eq. 1 and algorithm 1: z_k = projector(encoder(side
k)), loss = 1/n sum_ij -log sigmoid(+-(s cos(z_0i, z_1j) + b)), + where i = j; s = 1 / temperature is learned as its
logarithm, and b too.

The sides are those of `clip`. An encoder of two towers has projections of its own, and no projector follows it. Differs
from the paper: the bias starts where the size of the batch wants it; the projector of any other encoder is SimCLR's
with a batch norm at its end: one encoder sees both sides, and the cosines of its untrained vectors are all near 1,
where a sample's n - 1 negatives outweigh its positive hundreds of times and undo the encoder in the first steps;
centred vectors start near 0, as two towers do. Samples of equal content (`ids`) are not asked about each other.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from nearfar.contract import Batch, Encoder, Latents, Losses, Requirements
from nearfar.losses import siglip
from nearfar.methods.heads import Projected, learned, mlp
from nearfar.methods.options import SigLIPOptions
from nearfar.options import Facts, Settling

_USUAL_BATCH = 256
_PAPERS_BIAS = -10.0
_BIAS_RATE = 0.3
"""The bias finds within tens of steps where negatives weigh as much as positives: 150 steps on 5,000 CIFAR pictures end
at -8.6, with 46.8 % of a linear probe, and 43 % where it stays near -10."""


class SigLIP(Projected):
    """An encoder with a projector, under the pairwise sigmoid with a learned scale and bias."""

    Options = SigLIPOptions
    options: SigLIPOptions
    ring: ClassVar[Mapping[str, Any]] = {}
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: SigLIPOptions | None = None) -> None:
        super().__init__(encoder, options)
        self.log_scale = learned(-math.log(self.options.temperature))
        self.bias = learned(self.options.bias, sgd_rate=_BIAS_RATE)

    @classmethod
    def choose(cls, settling: Settling[SigLIPOptions], facts: Facts, encoder: Encoder) -> None:
        """The bias: the paper's, or that at which an untrained pair is taken for one with its chance in a batch.

        The latter needs cosines near 0 at the start, as those of two towers are. Views of one encoder are alike from
        the start, and with a bias so small it collapses (120 steps on digits: 30 % where the paper's has 69 %).
        """
        super().choose(settling, facts, encoder)
        if encoder.projected:
            settling.choose("bias", _PAPERS_BIAS, "as in the paper")
            return
        size = facts.batch_size or min(_USUAL_BATCH, facts.samples)
        settling.choose("bias", round(-math.log(max(size - 1, 1)), 2), f"-log(n - 1) for batches of {size}")

    def head(self) -> nn.Sequential:
        """SimCLR's projector, with a batch norm at its end."""
        if not self.options.projector_out:
            return super().head()
        return mlp(self.encoder.dim, self.options.projector_hidden, self.options.projector_out, last_norm=True)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The sigmoid loss of the own rows against all ranks' sides."""
        scale = self.log_scale.exp()
        value = siglip(
            z["z"][0], z["z"][1], scale=scale, bias=self.bias, ids=batch.ids, rows=batch.rows, ring=batch.ring
        )
        return Losses(value, {"temperature": 1 / scale.detach(), "bias": self.bias.detach().clone()})


METHOD = SigLIP
