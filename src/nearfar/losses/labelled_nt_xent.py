"""NT-Xent over labelled pairs: each positive pair has a softmax of its own against the anchor's negatives.

Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", 2016, with the temperature and the cosine
of Chen et al., 2020 (2002.05709); the convention of pytorch-metric-learning's NTXentLoss.
"""

import torch
from torch import Tensor, nn

from nearfar.errors import must
from nearfar.kernels import row_scores, softplus
from nearfar.losses.core.batch import inverse_temperature
from nearfar.losses.core.labelled import compare
from nearfar.losses.core.reduction import check_reduction, reduce
from nearfar.losses.core.unit import unit


def labelled_nt_xent(
    z: Tensor,
    *,
    labels: Tensor,
    reference: Tensor | None = None,
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
    whose denominator has them. z [N, D], of any length, labels, reference, offset and rows: see `parts/labelled.py`.

    average "pairs": every pair counts alike. "anchors": every anchor that has a positive does, by the mean of its
    pairs. The mean divides by the number of pairs (or anchors) of the whole batch. reduction "none" gives [rows], the
    sum (or mean) of each anchor's pairs. Memory is linear in N, whatever the number of pairs; `implementation` is
    "auto", "tiled" or "dense".

    Where all embeddings coincide a pair costs log(1 + the number of negatives). Raises DataError for shapes that do not
    agree, ConfigError for options out of range.
    """
    check_reduction(reduction, all_active=True)
    must(average in ("pairs", "anchors"), "average must be 'pairs' or 'anchors'", got=average)
    scale = inverse_temperature(temperature)
    with torch.autocast(z.device.type, enabled=False):
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


class LabelledNTXentLoss(nn.Module):
    """`labelled_nt_xent` as a module: `LabelledNTXentLoss(temperature=0.07)(z, labels=labels)`."""

    def __init__(self, temperature: float = 0.07, *, average: str = "pairs", reduction: str = "mean"):
        super().__init__()
        inverse_temperature(temperature)
        must(average in ("pairs", "anchors"), "average must be 'pairs' or 'anchors'", got=average)
        check_reduction(reduction, all_active=True)
        self.temperature = temperature
        self.average = average
        self.reduction = reduction

    def forward(
        self,
        z: Tensor,
        *,
        labels: Tensor,
        reference: Tensor | None = None,
        reference_labels: Tensor | None = None,
        offset: int | None = None,
    ) -> Tensor:
        """The loss of z [N, D] with labels [N], among themselves or against a reference [R, D] with labels [R]."""
        return labelled_nt_xent(
            z, labels=labels, reference=reference, reference_labels=reference_labels, offset=offset,
            temperature=self.temperature, average=self.average, reduction=self.reduction,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"temperature={self.temperature}, average={self.average!r}, reduction={self.reduction!r}"
