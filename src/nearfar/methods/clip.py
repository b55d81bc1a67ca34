"""CLIP: the two sides of a sample must find each other among the sides of all samples of the batch.

Radford et al., "Learning transferable visual models from natural language supervision", 2021, section 2.4 and figure 3:
z_k = W encoder(side k), logits = s cos(z_0, z_1) of all pairs of the batch, loss = half the cross-entropy of side 0
finding side 1 and half that of side 1 finding side 0. s = 1 / temperature is learned as its logarithm, held at 100.

The sides are the two views of a sample; where the data names positives, the second shows the positive. An encoder of
two towers has projections of its own, as in the paper, and none follows it. Differs from the paper: where one encoder
sees both sides, one linear projection serves both; the temperature starts higher; samples of
equal content (`ids`) are not each other's negatives; and what comes often is a negative that much less (`log_q`), where
the data is of pairs whose sides come again.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from nearfar.contract import Batch, Encoder, Latents, Losses, Requirements
from nearfar.losses import clip
from nearfar.methods.heads import Projected, learned, mlp
from nearfar.methods.options import CLIPOptions
from nearfar.methods.relations import share
from nearfar.options import Facts, Settling

LARGEST_SCALE = 100.0


class CLIP(Projected):
    """An encoder with a linear projection, under symmetric InfoNCE with a learned scale."""

    Options = CLIPOptions
    options: CLIPOptions
    ring: ClassVar[Mapping[str, Any]] = {}
    requires = Requirements(wide=2)

    def __init__(self, encoder: Encoder, options: CLIPOptions | None = None) -> None:
        super().__init__(encoder, options)
        self.log_scale = learned(-math.log(self.options.temperature))

    def head(self) -> nn.Sequential:
        """A linear projection."""
        return mlp(self.encoder.dim, self.options.projector_out)

    @classmethod
    def choose(cls, settling: Settling[CLIPOptions], facts: Facts, encoder: Encoder) -> None:
        """The temperature, which moves too little in a short run to find its value."""
        settling.choose("temperature", 0.2, "short runs of batches of a few hundred hardly move it")

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """Symmetric InfoNCE of the own rows against all ranks' sides."""
        scale = self.log_scale.exp()
        log_q = batch.log_q if self.options.log_q else None
        losses = clip(
            z["z"][0], z["z"][1], scale=scale, ids=batch.ids, log_q=log_q, rows=batch.rows, ring=batch.ring,
            reduction="none",
        )  # fmt: skip
        return Losses(share(losses, batch), {"temperature": 1 / scale.detach()})

    @torch.no_grad()
    def after_step(self, z: Latents, batch: Batch) -> None:
        """Hold the scale at 100: the parameter itself, since a clamp inside the loss would end its gradient."""
        self.log_scale.clamp_(max=math.log(LARGEST_SCALE))


METHOD = CLIP
