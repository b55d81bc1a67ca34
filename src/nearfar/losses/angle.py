"""AnglE: CoSENT of an angle in complex space, whose gradient does not fade where cosines are near 1 or -1.

Li & Li, "AnglE-optimized Text Embeddings", 2023, eq. 4 to 7. https://arxiv.org/abs/2309.12871
"""

import torch
from torch import Tensor

from nearfar.losses.core.batch import ShapeError, check_same_shape
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.settings import Learned
from nearfar.losses.core.unit import unit
from nearfar.losses.cosent import ranking


@objective
def angle(z1: Tensor, z2: Tensor, *, scores: Tensor, scale: Learned = 20.0) -> Tensor:
    """`log(1 + sum exp(scale (a_j - a_i)))` over all i, j with score_i > score_j: [B, D], [B, D], [B] -> [], D even.

    a_i is `|sum(re + im)|` of the quotient of the two embeddings of pair i at unit length, read as complex vectors: the
    first half of the dimensions is the real part, the second the imaginary one. This is the form of the authors' code
    and of sentence-transformers' AnglELoss. Otherwise as `cosent`.
    """
    check_same_shape({"z1": z1, "z2": z2})
    if z1.shape[1] % 2:
        raise ShapeError(f"Half of the dimensions are real parts, so their number must be even, got {z1.shape[1]}.")
    real, imaginary = unit(z2).chunk(2, dim=1)
    # re + im of (a + bi) / (c + di) is a (c - d) + b (c + d), over |c + di|^2.
    turned = torch.cat([real - imaginary, real + imaginary], dim=1)
    return ranking((unit(z1) * turned).sum(1).abs(), scores, scale)


class AnglELoss(LossModule, of=angle):
    """`angle` as a module: `AnglELoss(scale=20.0)(z1, z2, scores)`."""

    scale: Learned = 20.0

    def forward(self, z1: Tensor, z2: Tensor, scores: Tensor) -> Tensor:
        """The loss of pairs of embeddings [B, D], row i of one pair, and how alike they are [B]."""
        return self.compute(z1, z2, scores=scores)
