"""SigLIP: each pair of sides of the batch is asked by itself whether it belongs to one sample.

Zhai et al., "Sigmoid loss for language image pre-training", 2023, eq. 1 and algorithm 1: z_k = projector(encoder(side
k)), loss = 1/n sum_ij -log sigmoid(+-(s cos(z_0i, z_1j) + b)), + where i = j; s = 1 / temperature is learned as its
logarithm, and b too.

The sides are those of `clip`, and one projector serves both as there. Differs from the paper: the projector is SimCLR's
with a batch norm at its end. One encoder sees both sides, and the cosines of its untrained vectors are all near 1,
where a sample's n - 1 negatives outweigh its positive hundreds of times and undo the encoder in the first steps;
centred vectors start near 0, as two towers do. Samples of equal content (`ids`) are not asked about each other.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.errors import must
from nearfar.losses import siglip
from nearfar.methods.heads import learned, mlp, usual
from nearfar.methods.projected import ProjectorOptions
from nearfar.options import UNKNOWN, Choice, Facts, Settling

_BIAS_RATE = 0.3
"""The bias finds within tens of steps where negatives weigh as much as positives: 150 steps on 5,000 CIFAR pictures end
at -8.6, with 46.8 % of a linear probe, and 43 % where it stays near -10."""


@dataclass(frozen=True, kw_only=True)
class SigLIPOptions(ProjectorOptions):
    """Options of siglip; None stands for automatic."""

    temperature: float = 0.1
    """What cosines are divided by at the start; it is learned from there."""
    bias: float = -10.0
    """What is added to each pair's logit at the start; it is learned from there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        must(0 < self.temperature < math.inf, "temperature must be above 0", got=self.temperature)
        must(math.isfinite(self.bias), "bias must be finite", got=self.bias)


class SigLIP(Method):
    """An encoder with a projector, under the pairwise sigmoid with a learned scale and bias."""

    Options = SigLIPOptions
    ring: ClassVar[Mapping[str, Any]] = {}
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: SigLIPOptions) -> None:
        super().__init__(encoder)
        options, _ = self.settle(options, UNKNOWN, encoder)
        assert options.projector_hidden is not None
        self.projector = mlp(encoder.dim, options.projector_hidden, options.projector_out, last_norm=True)
        self.log_scale = learned(-math.log(options.temperature))
        self.bias = learned(options.bias, sgd_rate=_BIAS_RATE)

    @classmethod
    def settle(cls, options: SigLIPOptions, facts: Facts, encoder: Encoder) -> tuple[SigLIPOptions, list[Choice]]:
        """Fill in what was not given: the hidden layer as wide as makes sense."""
        settling = Settling(options)
        settling.choose("projector_hidden", *usual(encoder))
        return settling.options, settling.choices

    def embed(self, views: Views) -> Latents:
        """Project the features of both sides, which pass through the encoder together."""
        features = self.encoder(views)  # [2 b dim]
        return Latents(z=self.projector(features.flatten(0, 1)).view(*features.shape[:2], -1), features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The sigmoid loss of the own rows against all ranks' sides."""
        scale = self.log_scale.exp()
        value = siglip(
            z["z"][0], z["z"][1], scale=scale, bias=self.bias, ids=batch.ids, rows=batch.rows, ring=batch.ring
        )
        return Losses(value, {"temperature": 1 / scale.detach(), "bias": self.bias.detach().clone()})


METHOD = SigLIP
