"""CoSENT: of two pairs, the one with the higher score must have the larger cosine.

Su, "CoSENT: a more effective sentence embedding scheme than Sentence-BERT", 2022, https://kexue.fm/archives/8847:
log(1 + sum exp(scale (s_j - s_i))) over all pairs i, j of the batch with score_i > score_j, s the cosine of the
encoder's own vectors. Only the order of scores counts.
"""

from torch import Tensor

from nearfar.losses import cosent
from nearfar.methods.graded import Graded
from nearfar.methods.options import CoSENTOptions


class CoSENT(Graded):
    """An encoder under CoSENT."""

    Options = CoSENTOptions
    options: CoSENTOptions

    def compared(self, one: Tensor, other: Tensor, scores: Tensor) -> Tensor:
        """CoSENT of these pairs."""
        return cosent(one, other, scores=scores, scale=self.options.scale)


METHOD = CoSENT
