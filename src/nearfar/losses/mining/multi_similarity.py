"""Pairs that are informative beside the other pairs of their anchor.

Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning", 2019, eq. 10 and 11.
https://arxiv.org/abs/1904.06627
"""

import torch
from torch import Tensor

from nearfar.kernels import row_blocks
from nearfar.losses.core.labelled import compare
from nearfar.losses.core.objective import checked
from nearfar.losses.core.settings import NotNegative
from nearfar.losses.core.unit import unit


@torch.no_grad()
@checked
def multi_similarity_pairs(
    z: Tensor,
    *,
    labels: Tensor,
    epsilon: NotNegative = 0.1,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    offset: int | None = None,
    longest: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pairs (a1, p, a2, n) that the hardest pair of the other kind nearly reaches: twice [K], and twice [L].

    Kept are positives with `s - epsilon < max_n s_n` and negatives with `s + epsilon > min_p s_p`, s the cosine, n and
    p those of the same anchor. One without a positive gives no negative pairs, one without a negative no positive
    pairs. Beside the result memory is linear in the batch, in blocks of `longest` anchors where that is given.
    """
    found = compare(z, labels, reference, reference_labels, offset, None, unit)
    positives: list[Tensor] = []
    negatives: list[Tensor] = []
    with torch.autocast(z.device.type, enabled=False):
        for at in row_blocks(len(found.anchors), len(found.columns), longest=longest):
            similarities = found.anchors[at] @ found.columns.T
            positive, negative = found.masks(at)
            nearest_negative = similarities.masked_fill(~negative, -torch.inf).amax(1, keepdim=True)
            farthest_positive = similarities.masked_fill(~positive, torch.inf).amin(1, keepdim=True)
            start = torch.tensor([[at.start], [0]], device=z.device)
            for kept, pairs in (
                (positive & (similarities - epsilon < nearest_negative), positives),
                (negative & (similarities + epsilon > farthest_positive), negatives),
            ):
                pairs.append(kept.nonzero().T + start)
    (a1, p), (a2, n) = torch.cat(positives, 1), torch.cat(negatives, 1)
    return a1, p, a2, n
