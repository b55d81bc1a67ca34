"""CoSENT: of two pairs of texts, the one that people find more alike must have the larger cosine.

Su, "CoSENT: a more effective sentence embedding scheme than Sentence-BERT", 2022, https://kexue.fm/archives/8847
(in Chinese); the ranking loss is that of Sun et al., "Circle Loss", 2020, eq. 1. https://arxiv.org/abs/2002.10857
"""

import torch
from torch import Tensor

from nearfar.errors import ConfigError
from nearfar.losses.core.batch import ShapeError, check_same_shape
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.settings import Learned
from nearfar.losses.core.unit import unit


@objective
def cosent(z1: Tensor, z2: Tensor, *, scores: Tensor, scale: Learned = 20.0) -> Tensor:
    """`log(1 + sum exp(scale (s_j - s_i)))` over all i, j with score_i > score_j: [B, D], [B, D], [B] -> [].

    s_i is the cosine of pair i, `z1[i]` and `z2[i]`; only the order of `scores` counts, and equal ones contribute
    nothing. 0 where no two scores differ; log(1 + the number of ordered pairs) where all cosines are equal. Computed
    from sorted scores with a running log-sum-exp: time B log B and memory linear in B.

    A statistic of the whole batch, and no sum over samples: the share of a rank is the loss of the batch of all ranks,
    divided by the number of ranks. Raises DataError for shapes that do not agree, ConfigError for a scale out of range.
    """
    check_same_shape({"z1": z1, "z2": z2})
    return ranking((unit(z1) * unit(z2)).sum(1), scores, scale)


def ranking(similarities: Tensor, scores: Tensor, scale: float | Tensor) -> Tensor:
    """`log(1 + sum exp(scale (s_j - s_i)))` over all i, j with score_i > score_j: [B], [B] -> []."""
    ordered, order = check_scores(scores, len(similarities)).detach().to(similarities.device).sort()
    logits = scale * similarities[order]
    lower = torch.searchsorted(ordered, ordered)  # how many pairs score less than each
    # At k the log-sum-exp of the k first logits: over all pairs that score less, where k = lower.
    below = torch.cat([logits.new_full((1,), -torch.inf), logits.logcumsumexp(0)])
    terms = below[lower] - logits
    return torch.cat([logits.new_zeros(1), terms]).logsumexp(0)


def check_scores(scores: Tensor, pairs: int) -> Tensor:
    """`scores`, one number a pair [pairs]; raises ConfigError for other things and DataError for another shape."""
    if not isinstance(scores, Tensor) or scores.is_complex() or scores.dtype == torch.bool:
        kind = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise ConfigError(f"scores must be a tensor of numbers, got {kind}.")
    if scores.shape != (pairs,):
        raise ShapeError(f"scores must say how alike each of the {pairs} pairs is, got shape {list(scores.shape)}.")
    return scores


class CoSENTLoss(LossModule, of=cosent):
    """`cosent` as a module: `CoSENTLoss(scale=20.0)(z1, z2, scores)`."""

    scale: Learned = 20.0

    def forward(self, z1: Tensor, z2: Tensor, scores: Tensor) -> Tensor:
        """The loss of pairs of embeddings [B, D], row i of one pair, and how alike they are [B]."""
        return self.compute(z1, z2, scores=scores)
