"""Barlow Twins: the cross-correlation of two views' dimensions is pushed to the identity.

Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", 2021, eq. 1 and 2, algorithm 1:
C = correlation of z1's dimensions with z2's over the batch, loss = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2.
Each view passes through the networks by itself, with batch statistics of its own.

Differs from the paper: the loss is a multiple of its mean over dimensions, not its sum, so that SGD's usual learning
rate fits at any width (LARS, the paper's optimiser, hardly notices); the projector is as wide as suits the encoder and
the data, not always 8192.
"""

from nearfar.contract import Batch, Latents, Losses, Requirements
from nearfar.losses import barlow_twins
from nearfar.methods.decorrelated import Decorrelated
from nearfar.methods.options import BarlowOptions

_SCALE = 2.0
"""Of the mean over dimensions: at SGD's usual rate and a width of 512, 1, 2 and 5 learn digits alike."""


class Barlow(Decorrelated):
    """An encoder with a projector of three layers, under the loss of Barlow Twins."""

    Options = BarlowOptions
    options: BarlowOptions
    requires = Requirements(wide=2)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The loss of all ranks' views together: of it, this rank's share."""
        first, second = z["z"]  # [n d] each
        whole = barlow_twins(first, second, redundancy=self.options.redundancy) / first.shape[1]
        return Losses(_SCALE * whole / batch.world)


METHOD = Barlow
