"""SupCon: each anchor must find all samples of its class among the batch.

Khosla et al., "Supervised Contrastive Learning", 2020, eq. 2 (L_out) and 3 (L_in). https://arxiv.org/abs/2004.11362
"""

from dataclasses import KW_ONLY
from typing import Annotated

import torch
from torch import Tensor

from nearfar.errors import ConfigError
from nearfar.kernels import Pairs, masked_logsumexp, row_lse, self_lse
from nearfar.losses.core.batch import (
    ShapeError,
    check_same_shape,
    class_numbers,
    group_numbers,
    own_rows,
    part,
)
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.positives import by_class, by_mask, count_by_class
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Learned, Positive, Reduction, Variant, Word
from nearfar.losses.core.unit import unit
from nearfar.losses.multi_positive import check_mask

ContrastMode = Annotated[str, Word(("all", "one"))]


@objective
def sup_con(
    z: Tensor,
    *,
    labels: Tensor,
    temperature: Learned = 0.1,
    variant: Variant = "out",
    base_temperature: Positive | None = None,
    ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: Reduction = "mean_active",
    implementation: str = "auto",
) -> Tensor:
    """Mean over anchors with a positive of the softmax loss of the others of their class, p, among all others a.

    variant "out", the log inside the mean: `LSE_{a != i}(s_ia / t) - mean_p s_ip / t`; "in", the mean inside the log:
    `LSE_{a != i}(s_ia / t) - log mean_p e^{s_ip / t}`, never more than "out" and found worse in the paper. s cosine.

    z: [N, D], of any length: views, or views of several samples one after the other. labels [N], integers; -1 is no
    class: such a row is a negative of all, and as an anchor has no positive. reduction "mean_active" is the mean over
    the anchors that have a positive; "mean" counts the others as 0. base_temperature multiplies the loss by
    `temperature / base_temperature`, as the authors' code does with 0.07; None leaves it as the paper has it.

    ids [N], integers: rows of equal id are the same thing twice, and where their classes differ are no negatives of
    each other; in one class they stay positives. rows: the anchors whose losses are summed; both means still divide by
    the number of the whole batch, so that shares of disjoint rows sum to the whole. reduction "none" gives [rows].
    Memory is linear in N; `implementation` is "auto", "tiled" or "dense".

    Where all embeddings coincide the loss is log(N - 1). Raises DataError for shapes that do not agree, ConfigError for
    options out of range.
    """
    check_same_shape({"z": z})
    scale = 1 / temperature
    n = len(z)
    own = own_rows(rows, n)
    classes = class_numbers(labels, n)
    every = unit(z)
    u = part(every, own)
    same = Pairs(own.start, classes[own], classes, "same")
    lse = _denominator(u, every, own, scale, classes, ids, implementation)
    losses = by_class(u, every, scale, lse, same, variant=variant, implementation=implementation)
    active = (count_by_class(Pairs(0, classes, classes, "same")) > 0).sum()
    return reduce(losses * _rescaling(temperature, base_temperature), reduction, n, active)


def _denominator(
    u: Tensor,
    every: Tensor,
    own: slice,
    scale: float | Tensor,
    classes: Tensor,
    ids: Tensor | None,
    implementation: str,
) -> Tensor:
    """Log-sum-exp of each anchor's similarities with all others, but for things of equal id and another class."""
    if ids is None:
        if u is every:
            return self_lse(every, scale=scale, implementation=implementation)
        return row_lse(u, every, scale=scale, pairs=Pairs(self_column=own.start), implementation=implementation)
    things = group_numbers(ids, len(every))
    both = group_numbers(classes.long() * len(every) + things, len(every))
    parts = [Pairs(None, things[own], things), Pairs(own.start, both[own], both, "same")]
    sums = [row_lse(u, every, scale=scale, pairs=pairs, implementation=implementation) for pairs in parts]
    return masked_logsumexp(torch.stack(sums), 0)


def _rescaling(temperature: float | Tensor, base_temperature: float | None) -> float | Tensor:
    if base_temperature is None:
        return 1.0
    return temperature / base_temperature


class SupConLoss(LossModule, of=sup_con):
    """SupCon of samples in several views, called as in the authors' repository, with its values.

    `SupConLoss(temperature=0.07)(features, labels)`: anchors are all views ("all") or the first of each sample ("one").
    Two of the repository's habits are `sup_con`'s options, and set as there: the factor `temperature /
    base_temperature`, and `reduction="mean"`, where anchors without a positive count as 0. Embeddings of any length are
    taken as directions; the repository leaves that to the caller.
    """

    temperature: Learned = 0.07
    contrast_mode: ContrastMode = "all"
    base_temperature: Positive | None = 0.07
    _: KW_ONLY
    variant: Variant = "out"
    reduction: Reduction = "mean"

    def forward(self, features: Tensor, labels: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The loss of features [B, V, ...] of V views, or [B, D] of one.

        Positives are the views of samples of equal label [B] (-1: its own views alone), or of those that mask [B, B]
        names (not 0 for positives); with neither they are the sample's own other views, which is NT-Xent. reduction
        "none" gives [V, B], or [B] with "one".
        """
        if features.dim() < 2 or len(features) == 0:
            raise ShapeError(f"features must be [B, V, D], V views of B samples, got shape {list(features.shape)}.")
        if labels is not None and mask is not None:
            raise ConfigError("positives are given by labels or by mask: pass one of the two.")
        b = len(features)
        views = features.unsqueeze(1) if features.dim() == 2 else features.flatten(2)  # [b v d]
        v = views.shape[1]
        z = views.transpose(0, 1).flatten(0, 1)  # [vb d]
        anchors = b if self.contrast_mode == "one" else v * b
        if mask is None:
            samples = torch.arange(b, device=z.device) if labels is None else class_numbers(labels, b)
            classes = samples.repeat(v)
            losses = sup_con(
                z, labels=classes, temperature=self.temperature, variant=self.variant, rows=slice(0, anchors),
                base_temperature=self.base_temperature, reduction="none",
            )  # fmt: skip
            active = count_by_class(Pairs(0, classes[:anchors], classes, "same")) > 0
        else:
            check_mask(mask.bool(), (b, b))
            positives = mask.bool().repeat(anchors // b, v)
            positives.fill_diagonal_(False)
            losses = _by_mask(
                z, mask=positives, temperature=self.temperature, base_temperature=self.base_temperature,
                variant=self.variant,
            )  # fmt: skip
            active = positives.any(1)
        losses = losses if self.contrast_mode == "one" else losses.view(v, b)
        return reduce(losses, self.reduction, anchors, active.sum())


@objective
def _by_mask(
    z: Tensor, *, mask: Tensor, temperature: Learned, base_temperature: Positive | None, variant: Variant
) -> Tensor:
    u = unit(z)
    anchors = part(u, slice(0, len(mask)))
    losses = by_mask(anchors, u, 1 / temperature, mask, variant=variant, implementation="auto", self_column=0)
    return losses * _rescaling(temperature, base_temperature)
