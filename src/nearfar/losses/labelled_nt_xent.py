"""NT-Xent over labelled pairs: each positive pair has a softmax of its own against the anchor's negatives.

Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", 2016, with the temperature and the cosine
of Chen et al., 2020 (2002.05709); the convention of pytorch-metric-learning's NTXentLoss.
"""

from dataclasses import KW_ONLY
from typing import Annotated

import torch
from torch import Tensor

from nearfar.kernels import row_scores, softplus
from nearfar.losses.core.labelled import compare
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Learned, MeanReduction, Word
from nearfar.losses.core.unit import unit

Average = Annotated[str, Word(("pairs", "anchors"))]


@objective
def labelled_nt_xent(
    z: Tensor,
    *,
    labels: Tensor,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    offset: int | None = None,
    temperature: Learned = 0.07,
    average: Average = "pairs",
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over positive pairs (i, p) of `log(1 + sum_n e^{(s_in - s_ip) / t})`, n the negatives of i, s cosine.

    Other positives of i are in no denominator but their own: where classes are large this asks less than `sup_con`,
    whose denominator has them. z [N, D], of any length, labels, reference, offset and rows: see `core/labelled.py`.

    average "pairs": every pair counts alike. "anchors": every anchor that has a positive does, by the mean of its
    pairs. The mean divides by the number of pairs (or anchors) of the whole batch. reduction "none" gives [rows], the
    sum (or mean) of each anchor's pairs. Memory is linear in N, whatever the number of pairs; `implementation` is
    "auto", "tiled" or "dense".

    Where all embeddings coincide a pair costs log(1 + the number of negatives). Raises DataError for shapes that do not
    agree, ConfigError for options out of range.
    """
    scale = 1 / temperature
    found = compare(z, labels, reference, reference_labels, offset, rows, unit)
    same, columns = found.pairs("same"), len(found.columns)
    negatives = found.lse(scale, "different", implementation)

    def score(similarities: Tensor, at: slice, negatives: Tensor, scale: Tensor) -> Tensor:
        over = negatives[at, None] - similarities * scale
        same.rule_out(over, at, slice(0, columns))
        return softplus(over).sum(1)

    factor = torch.as_tensor(scale, dtype=found.rows.dtype, device=z.device)
    losses = row_scores(score, found.rows, found.columns, negatives, factor, implementation=implementation)
    every, _ = found.counts()
    if average == "anchors":
        losses, counted = losses / every[found.own].clamp(min=1), (every > 0).sum()
    else:
        counted = every.sum()
    return reduce(losses, "mean_active" if reduction == "mean" else reduction, len(z), counted)


class LabelledNTXentLoss(LossModule, of=labelled_nt_xent):
    """`labelled_nt_xent` as a module: `LabelledNTXentLoss(temperature=0.07)(z, labels=labels)`."""

    temperature: Learned = 0.07
    _: KW_ONLY
    average: Average = "pairs"
    reduction: MeanReduction = "mean"
