"""Pearson: the cosines of pairs rise and fall with their scores.

One less the correlation over the batch of the cosine of the encoder's own vectors with the score, which is what tasks
of semantic similarity judge by (Agirre et al., "SemEval-2012 task 6", 2012). The distances of scores count, their scale
does not.
"""

from torch import Tensor

from nearfar.losses import pearson
from nearfar.methods.graded import Graded
from nearfar.methods.options import PearsonOptions


class Pearson(Graded):
    """An encoder under one less the correlation of cosines with scores."""

    Options = PearsonOptions
    options: PearsonOptions

    def compared(self, one: Tensor, other: Tensor, scores: Tensor) -> Tensor:
        """One less the correlation of these pairs."""
        return pearson(one, other, scores=scores)


METHOD = Pearson
