"""SEED: a student finds the samples of a batch as alike as its teacher does.

Fang et al., "SEED: Self-supervised distillation for visual representation", 2021, eq. 4 to 6.
https://arxiv.org/abs/2101.04731
"""

from dataclasses import KW_ONLY

import torch
from torch import Tensor

from nearfar.kernels.rows import row_scores
from nearfar.losses.core.batch import check_same_shape, own_rows, part
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import MeanReduction, Positive
from nearfar.losses.core.unit import unit


@objective
def seed_distill(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: Positive = 0.2,
    teacher_temperature: Positive = 0.07,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over samples i of the cross-entropy `-sum_j p_ij log q_ij`.

    p_i = softmax over j of the cosines of teacher i and teacher j over `teacher_temperature`, q_i = softmax over j of
    those of student i and teacher j over `temperature`; j runs over the batch, where the paper has a queue and the
    sample itself.

    student, teacher: [B, D], row i of the same sample, of any length; only the student gets gradients. rows: the
    samples whose losses are summed; the mean still divides by B, so that shares of disjoint rows sum to the whole.
    reduction "none" gives [rows]. Memory is linear in B; `implementation` is "auto", "tiled" or "dense".

    Where all embeddings coincide the loss is log B. Raises DataError for shapes that do not agree, ConfigError for
    options out of range.
    """
    check_same_shape({"student": student, "teacher": teacher})
    own = own_rows(rows, len(student))
    known = unit(teacher.detach())
    anchors = part(known, own)

    def score(similarities: Tensor, at: slice) -> Tensor:
        wanted = torch.softmax(anchors[at] @ known.T / teacher_temperature, 1)
        return -(wanted * torch.log_softmax(similarities / temperature, 1)).sum(1)

    losses = row_scores(score, unit(part(student, own)), known, implementation=implementation)
    return reduce(losses, reduction, len(student))


class SEEDLoss(LossModule, of=seed_distill):
    """`seed_distill` as a module: `SEEDLoss(temperature=0.2)(student, teacher)`."""

    temperature: Positive = 0.2
    _: KW_ONLY
    teacher_temperature: Positive = 0.07
    reduction: MeanReduction = "mean"
