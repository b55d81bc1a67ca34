"""SigLIP: each pair of sides of the batch is asked by itself whether it belongs to one sample.

Zhai et al., "Sigmoid loss for language image pre-training", 2023, eq. 1 and algorithm 1: z_k = W encoder(side k),
loss = 1/n sum_ij -log sigmoid(+-(s cos(z_0i, z_1j) + b)), + where i = j; s = 1 / temperature is learned as its
logarithm, and b too.

The sides are those of `clip`, and one projection serves both as there. Differs from the paper in where b starts. Its
-10 is about -log n for batches of 32,768 whose cosines start near 0, so that the n - 1 negatives of a sample weigh as
much as its positive. Here one encoder sees both sides, cosines start near 0.9, and b = -0.9 s - log(n - 1) does the
same; far above or below it all sides fall together. Samples of equal content (`ids`) are not asked about each other.
"""

import math
from dataclasses import dataclass, replace

from nearfar.contract import Batch, Choice, Encoder, Facts, Latents, Losses, Method, Views, Wants
from nearfar.errors import must
from nearfar.losses import siglip
from nearfar.methods.heads import learned, mlp

_USUAL_BATCH = 256
_COSINE = 0.9
"""Near which cosines of two sides start, of one sample or of two."""


@dataclass(frozen=True, kw_only=True)
class SigLIPOptions:
    """Options of siglip; None stands for automatic."""

    temperature: float = 0.1
    """What cosines are divided by at the start; it is learned from there."""
    bias: float | None = None
    """What is added to each pair's logit at the start; it is learned from there. -10 in the paper."""
    projector_out: int = 128
    """Dimensions of the space the loss is computed in."""

    def __post_init__(self) -> None:
        must(0 < self.temperature < math.inf, "temperature must be above 0", got=self.temperature)
        must(self.bias is None or math.isfinite(self.bias), "bias must be finite", got=self.bias)
        must(self.projector_out >= 2, "projector_out must be at least 2", got=self.projector_out)


class SigLIP(Method):
    """An encoder with a linear projection, under the pairwise sigmoid with a learned scale and bias."""

    Options = SigLIPOptions
    wants = Wants(wide=2)
    rate = 0.25

    def __init__(self, encoder: Encoder, options: SigLIPOptions) -> None:
        super().__init__(encoder)
        options, _ = self.settle(options, None, encoder)
        assert options.bias is not None
        self.projector = mlp(encoder.dim, options.projector_out)
        self.log_scale = learned(-math.log(options.temperature))
        self.bias = learned(options.bias)

    @classmethod
    def settle(
        cls, options: SigLIPOptions, facts: Facts | None, encoder: Encoder
    ) -> tuple[SigLIPOptions, list[Choice]]:
        """Fill in what was not given: the bias at which positives and negatives begin in balance."""
        if options.bias is not None:
            return options, []
        batch = _USUAL_BATCH if facts is None else min(_USUAL_BATCH, facts.samples)
        bias = round(-_COSINE / options.temperature - math.log(max(1, batch - 1)), 2)
        choice = Choice("bias", bias, f"positives and negatives of a batch of {batch} begin in balance")
        return replace(options, bias=bias), [choice]

    def embed(self, views: Views) -> Latents:
        """Project the features of both sides, which pass through the encoder together."""
        features = self.encoder(views)  # [2 b dim]
        return Latents(z=self.projector(features), features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The sigmoid loss of the own rows against all ranks' sides."""
        scale = self.log_scale.exp()
        value = siglip(z["z"][0], z["z"][1], scale=scale, bias=self.bias, ids=batch.ids, rows=batch.rows)
        return Losses(value, {"temperature": 1 / scale.detach(), "bias": self.bias.detach().clone()})


METHOD = SigLIP
