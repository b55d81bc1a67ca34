"""NT-Xent over labelled pairs: each positive pair has a softmax of its own against the anchor's negatives.

Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", 2016, with the temperature and the cosine
of Chen et al., 2020 (2002.05709); the convention of pytorch-metric-learning's NTXentLoss.
"""

import torch
from torch import Tensor, nn

from nearfar.errors import DataError, must
from nearfar.kernels import Pairs, row_lse, row_scores, softplus
from nearfar.losses.batch import check_same_shape, class_numbers, inverse_temperature, own_rows, part
from nearfar.losses.positives import count_by_class
from nearfar.losses.reduction import check_reduction, reduce
from nearfar.losses.unit import unit


def labelled_nt_xent(
    z: Tensor,
    *,
    labels: Tensor,
    references: Tensor | None = None,
    reference_labels: Tensor | None = None,
    offset: int | None = None,
    temperature: float | Tensor = 0.07,
    average: str = "pairs",
    rows: slice | None = None,
    reduction: str = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over positive pairs (i, p) of `log(1 + sum_n e^{(s_in - s_ip) / t})`, n the negatives of i, s cosine.

    Other positives of i are in no denominator but their own: where classes are large this asks less than `sup_con`,
    whose denominator has them. z: [N, D], of any length; labels [N], integers; equal labels are positives, others
    negatives, -1 is equal to none. Pairs are taken among z, or between z and references [R, D] with labels [R]; with an
    offset, `references[offset + i]` is row i of z, and no pair of it.

    average "pairs": every pair counts alike. "anchors": every anchor that has a positive does, by the mean of its
    pairs. rows: the anchors whose pairs are summed; the mean still divides by the number of pairs (or anchors) of the
    whole batch, so that shares of disjoint rows sum to the whole. reduction "none" gives [rows], the sum (or mean) of
    each anchor's pairs. Memory is linear in N, whatever the number of pairs; `implementation` is "auto", "tiled" or
    "dense".

    Where all embeddings coincide a pair costs log(1 + the number of negatives). Raises DataError for shapes that do not
    agree, ConfigError for options out of range.
    """
    check_reduction(reduction, all_active=True)
    must(average in ("pairs", "anchors"), "average must be 'pairs' or 'anchors'", got=average)
    check_same_shape({"z": z})
    if (references is None) != (reference_labels is None):
        raise DataError("references and reference_labels come together: pass both, or neither.")
    scale = inverse_temperature(temperature)
    n = len(z)
    own = own_rows(rows, n)
    if references is None or reference_labels is None:
        must(offset is None, "offset is a place in references", got=offset)
        row_classes = column_classes = class_numbers(labels, n)
        offset = 0
    else:
        if references.dim() != 2 or references.shape[1] != z.shape[1]:
            raise DataError(f"references must be [R, {z.shape[1]}], got shape {list(references.shape)}.")
        r = len(references)
        classes = class_numbers(torch.cat([labels, reference_labels]), n + r, name="labels and reference_labels")
        row_classes, column_classes = classes[:n], classes[n:]

    with torch.autocast(z.device.type, enabled=False):
        u = unit(z if references is None else part(z, own))
        columns = u if references is None else unit(references)
        anchors = part(u, own) if references is None else u
        mine = row_classes[own]
        same = Pairs(None if offset is None else offset + own.start, mine, column_classes, "same")
        different = Pairs(None, mine, column_classes)
        negatives = row_lse(anchors, columns, scale=scale, pairs=different, implementation=implementation)

        def score(similarities: Tensor, at: slice, negatives: Tensor, scale: Tensor) -> Tensor:
            over = negatives[at, None] - similarities * scale
            same.rule_out(over, at, slice(0, len(columns)))
            return softplus(over).sum(1)

        factor = torch.as_tensor(scale, dtype=u.dtype, device=u.device)
        losses = row_scores(score, anchors, columns, negatives, factor, implementation=implementation)
        every = count_by_class(Pairs(offset, row_classes, column_classes, "same"))
        if average == "anchors":
            losses, counted = losses / every[own].clamp(min=1), (every > 0).sum()
        else:
            counted = every.sum()
        return reduce(losses, "mean_active" if reduction == "mean" else reduction, n, counted)


class LabelledNTXentLoss(nn.Module):
    """`labelled_nt_xent` as a module: `LabelledNTXentLoss(temperature=0.07)(z, labels)`."""

    def __init__(self, temperature: float = 0.07, *, average: str = "pairs", reduction: str = "mean"):
        super().__init__()
        inverse_temperature(temperature)
        must(average in ("pairs", "anchors"), "average must be 'pairs' or 'anchors'", got=average)
        check_reduction(reduction, all_active=True)
        self.temperature = temperature
        self.average = average
        self.reduction = reduction

    def forward(
        self, z: Tensor, labels: Tensor, references: Tensor | None = None, reference_labels: Tensor | None = None
    ) -> Tensor:
        """The loss of z [N, D] with labels [N], among themselves or against references [R, D] with labels [R]."""
        return labelled_nt_xent(
            z, labels=labels, references=references, reference_labels=reference_labels, temperature=self.temperature,
            average=self.average, reduction=self.reduction,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"temperature={self.temperature}, average={self.average!r}, reduction={self.reduction!r}"
