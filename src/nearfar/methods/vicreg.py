"""VICReg: views agree, every dimension varies, and no two dimensions say the same.

Bardes, Ponce & LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", 2022,
eq. 1 to 6, algorithm 1: loss = lambda s(z1, z2) + mu (v(z1) + v(z2)) + nu (c(z1) + c(z2)), z the expanded features.
Each view passes through the networks by itself, with batch statistics of its own.

Differs from the paper: the loss is scaled, so that SGD's usual learning rate fits (LARS, the paper's optimiser, hardly
notices); the projector, there called expander, is as wide as suits the encoder and the data, not always 8192. The
weight of v is that of eq. 6; the authors' code halves v(z1) + v(z2), which is `variance=12.5` here.
"""

from nearfar.contract import Batch, Latents, Losses, Requirements
from nearfar.losses import vicreg
from nearfar.methods.decorrelated import Decorrelated
from nearfar.methods.options import VICRegOptions

_SCALE = 0.1
"""As in solo-learn's recipes; at SGD's usual rate and a width of 256, a fifth and four times of it learn digits less
well."""


class VICReg(Decorrelated):
    """An encoder with a projector of three layers, under the loss of VICReg."""

    Options = VICRegOptions
    options: VICRegOptions
    requires = Requirements(wide=2)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The loss of all ranks' views together: of it, this rank's share."""
        first, second = z["z"]  # [n d] each
        weights = {name: getattr(self.options, name) for name in ("invariance", "variance", "covariance")}
        return Losses(_SCALE * vicreg(first, second, **weights) / batch.world)


METHOD = VICReg
