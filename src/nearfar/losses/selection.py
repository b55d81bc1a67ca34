"""Two ways to choose negatives: the single nearest one ("hard"), or all of them by how near they are ("soft").

Both are averages of the same small loss, the cross-entropy of an anchor between its positive and one negative, and
differ in which negatives are taken. Hard selection for a cross-entropy: Schroff et al., "FaceNet", 2015, section 3.2
(1503.03832), whose triplet has a margin where this has a temperature; weighted selection as in Robinson et al., 2021
(2010.04592), outside the logarithm.
"""

from dataclasses import KW_ONLY

import torch
from torch import Tensor

from nearfar.kernels import extremes, row_scores, softplus
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Learned, MeanReduction, Positive
from nearfar.losses.core.views import Anchors


@objective
def hardest_negative(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: Learned = 0.1,
    ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
) -> Tensor:
    """Mean over all 2 * B views of `log(1 + e^{(s_ih - s_ip) / t})`, p the other view, h the nearest negative.

    That is the cross-entropy of a softmax over two candidates. z1, z2: [B, D], row i of sample i, of any length;
    negatives are the views of other samples, compared by cosine s; of equally near ones the first is taken.

    It is the limit of `weighted_negatives` as its focus falls to 0. Of `hcl`, which ends up counting its nearest
    negative N times, it differs in counting it once; of the batch-hard triplet loss in its slope, which falls off
    smoothly instead of ending at a margin.

    ids [B], integers: samples of equal id are the same thing twice, and are no negatives of each other; a view without
    any negative counts as 0. rows: the samples whose anchors are summed; the mean still divides by 2 * B, so that
    shares of disjoint rows sum to the whole. reduction "none" gives [2, rows]. Memory is linear in B.

    Where all views coincide the loss is log 2. Raises DataError for shapes that do not agree, ConfigError for options
    out of range.
    """
    scale = 1 / temperature
    anchors = Anchors.of((z1, z2), ids, rows)
    u, every = anchors.u.flatten(0, 1), anchors.flat
    columns = extremes(u, every, pairs=anchors.pairs()).columns
    # Which one was found without a gradient; comparing again has it.
    nearest = (u * every[columns.clamp(min=0)]).sum(-1)
    positives = anchors.positives().flatten()
    losses = softplus((nearest - positives) * scale).masked_fill(columns < 0, 0.0).view(-1, 2)
    return reduce(losses.T, reduction, 2 * len(anchors.every))


@objective
def weighted_negatives(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: Learned = 0.1,
    focus: Positive = 0.1,
    ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over all 2 * B views of `sum_n w_in log(1 + e^{(s_in - s_ip) / t})`, `w_i = softmax_n(s_in / focus)`.

    Every view n of another sample is a negative, weighted by its similarity s (cosine) to the anchor. focus > 0: as it
    falls to 0 the nearest negative takes all the weight, which is `hardest_negative`; as it grows, all weigh alike. The
    weights of an anchor sum to 1 and are constants: they say which negatives are compared, and are not trained.

    `hcl` weighs the same way inside the logarithm: one softmax against the weighted sum of all negatives, where the
    nearest dominates twice, by its weight and by its exponential. Here each negative has a softmax of its own.

    Shapes, options and errors as in `hardest_negative`; `implementation` is "auto", "tiled" or "dense". Where all views
    coincide the loss is log 2.
    """
    scale = 1 / temperature
    anchors = Anchors.of((z1, z2), ids, rows)
    u, every, pairs = anchors.u.flatten(0, 1), anchors.flat, anchors.pairs()

    def score(similarities: Tensor, at: slice, positives: Tensor, scale: Tensor) -> Tensor:
        with torch.no_grad():
            weights = similarities / focus
            # Not -inf: the softmax of a row without any negative would be nan.
            pairs.rule_out(weights, at, slice(0, len(every)), torch.finfo(weights.dtype).min)
            weights = weights.softmax(1)
            pairs.rule_out(weights, at, slice(0, len(every)), 0.0)
        return (weights * softplus((similarities - positives[at, None]) * scale)).sum(1)

    positives = anchors.positives().flatten()
    factor = torch.as_tensor(scale, dtype=u.dtype, device=u.device)
    losses = row_scores(score, u, every, positives, factor, implementation=implementation).view(-1, 2)
    return reduce(losses.T, reduction, 2 * len(anchors.every))


class HardestNegativeLoss(LossModule, of=hardest_negative):
    """`hardest_negative` as a module: `HardestNegativeLoss(temperature=0.1)(z1, z2)`."""

    temperature: Learned = 0.1
    _: KW_ONLY
    reduction: MeanReduction = "mean"


class WeightedNegativesLoss(LossModule, of=weighted_negatives):
    """`weighted_negatives` as a module: `WeightedNegativesLoss(temperature=0.1, focus=0.1)(z1, z2)`."""

    temperature: Learned = 0.1
    focus: Positive = 0.1
    _: KW_ONLY
    reduction: MeanReduction = "mean"
