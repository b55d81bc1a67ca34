"""The softmax loss of anchors that have any number of positives, given by classes or by a mask."""

import torch
from torch import Tensor

from nearfar.kernels import Pairs, row_lse, row_scores


def by_class(
    anchors: Tensor,
    candidates: Tensor,
    scale: float | Tensor,
    lse: Tensor,
    same: Pairs,
    *,
    variant: str,
    implementation: str,
) -> Tensor:
    """Losses of anchors [M, D] whose positives among the candidates [N, D] are the pairs of `same`; 0 without any: [M].

    "out": `lse_i - mean_p t_ip`; "in": `lse_i - log mean_p e^{t_ip}`, t the scaled products and lse [M] that of the
    denominator. The mean of "out" needs no similarities: it is one product with the sum of the class.
    """
    count = count_by_class(same)
    number = count.clamp(min=1).to(anchors.dtype)
    if variant == "in":
        positives = row_lse(anchors, candidates, scale=scale, pairs=same, implementation=implementation) - number.log()
    else:
        positives = _sum_by_class(anchors, candidates, same) * scale / number
    return torch.where(count > 0, lse - positives, 0.0)


def count_by_class(same: Pairs) -> Tensor:
    """How many candidates are positives of each anchor by the pairs of `same`: [M]."""
    rows, columns, classes = _classes(same)
    count = torch.bincount(columns, minlength=classes)[rows]
    return count if same.self_column is None else count - 1


def _sum_by_class(anchors: Tensor, candidates: Tensor, same: Pairs) -> Tensor:
    rows, columns, classes = _classes(same)
    sums = candidates.new_zeros(classes, candidates.shape[1]).index_add(0, columns, candidates)
    total = (anchors * sums[rows]).sum(-1)
    if same.self_column is None:
        return total
    itself = candidates[same.self_column : same.self_column + len(anchors)]
    return total - (anchors * itself).sum(-1)


def _classes(same: Pairs) -> tuple[Tensor, Tensor, int]:
    rows, columns = same.row_groups, same.column_groups
    assert rows is not None
    assert columns is not None
    return rows, columns, 1 + int(torch.cat([rows, columns]).amax())


def by_mask(
    anchors: Tensor,
    candidates: Tensor,
    scale: float | Tensor,
    mask: Tensor,
    *,
    variant: str,
    implementation: str,
    self_column: int | None = None,
) -> Tensor:
    """The same, where mask [M, N] is True for positives; candidate `self_column + i` is anchor i, and no candidate."""
    never = Pairs(self_column=self_column)
    count = mask.sum(1)
    number = count.clamp(min=1).to(anchors.dtype)

    def score(similarities: Tensor, at: slice, scale: Tensor) -> Tensor:
        logits = similarities * scale
        # Not -inf: a row without any other candidate would have the gradient nan.
        lowest = torch.finfo(logits.dtype).min
        never.rule_out(logits, at, slice(0, len(candidates)), lowest)
        here = mask[at]
        if variant == "in":
            positives = logits.masked_fill(~here, lowest).logsumexp(1) - number[at].log()
        else:
            positives = logits.masked_fill(~here, 0.0).sum(1) / number[at]
        return torch.where(count[at] > 0, logits.logsumexp(1) - positives, 0.0)

    factor = torch.as_tensor(scale, dtype=anchors.dtype, device=anchors.device)
    return row_scores(score, anchors, candidates, factor, implementation=implementation)
