"""CLIP: the two sides of a sample must find each other among the sides of all samples of the batch.

Radford et al., "Learning transferable visual models from natural language supervision", 2021, section 2.4 and figure 3:
z_k = W encoder(side k), logits = s cos(z_0, z_1) of all pairs of the batch, loss = half the cross-entropy of side 0
finding side 1 and half that of side 1 finding side 0. s = 1 / temperature is learned as its logarithm, held at 100.

The sides are the two views of a sample; where the data names positives, the second shows the positive. Differs from the
paper: one encoder sees both sides, and so one linear projection serves both; the temperature starts higher; samples of
equal content (`ids`) are not each other's negatives.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.errors import must
from nearfar.losses import clip
from nearfar.methods.heads import learned, mlp
from nearfar.options import UNKNOWN, Choice, Facts, Settling

LARGEST_SCALE = 100.0


@dataclass(frozen=True, kw_only=True)
class CLIPOptions:
    """Options of clip; None stands for automatic."""

    temperature: float | None = None
    """Softmax temperature at the start, at least 0.01; it is learned from there."""
    projector_out: int = 128
    """Dimensions of the space the loss is computed in."""

    def __post_init__(self) -> None:
        must(
            self.temperature is None or 1 / LARGEST_SCALE <= self.temperature < math.inf,
            "temperature must be at least 0.01",
            got=self.temperature,
        )
        must(self.projector_out >= 2, "projector_out must be at least 2", got=self.projector_out)


class CLIP(Method):
    """An encoder with a linear projection, under symmetric InfoNCE with a learned scale."""

    Options = CLIPOptions
    ring: ClassVar[Mapping[str, Any]] = {}
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: CLIPOptions) -> None:
        super().__init__(encoder)
        options, _ = self.settle(options, UNKNOWN, encoder)
        assert options.temperature is not None
        self.projector = mlp(encoder.dim, options.projector_out)
        self.log_scale = learned(-math.log(options.temperature))

    @classmethod
    def settle(cls, options: CLIPOptions, facts: Facts, encoder: Encoder) -> tuple[CLIPOptions, list[Choice]]:
        """Fill in what was not given: the temperature, which moves too little in a short run to find its value."""
        settling = Settling(options)
        settling.choose("temperature", 0.2, "short runs of batches of a few hundred hardly move it")
        return settling.options, settling.choices

    def embed(self, views: Views) -> Latents:
        """Project the features of both sides, which pass through the encoder together."""
        features = self.encoder(views)  # [2 b dim]
        return Latents(z=self.projector(features), features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """Symmetric InfoNCE of the own rows against all ranks' sides."""
        scale = self.log_scale.exp()
        value = clip(z["z"][0], z["z"][1], scale=scale, ids=batch.ids, rows=batch.rows, ring=batch.ring)
        return Losses(value, {"temperature": 1 / scale.detach()})

    @torch.no_grad()
    def after_step(self, z: Latents, batch: Batch) -> None:
        """Hold the scale at 100: the parameter itself, since a clamp inside the loss would end its gradient."""
        self.log_scale.clamp_(max=math.log(LARGEST_SCALE))


METHOD = CLIP
