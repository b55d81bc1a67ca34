"""iBOT: the student must predict, for each masked patch, what the teacher says of the patch that it sees.

Zhou et al., "iBOT: Image BERT Pre-Training with Online Tokenizer", 2022, eq. 2. https://arxiv.org/abs/2111.07832
Oquab et al., "DINOv2", 2024, section 4: its weights of patches. https://arxiv.org/abs/2304.07193
"""

from typing import ClassVar

import torch
from torch import Tensor

from nearfar.errors import ConfigError
from nearfar.losses.core.batch import ShapeError, check_same_shape
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.settings import Count, Fraction, Positive
from nearfar.losses.dino import CenterMode, check_center, cross_entropies, move_center


@objective
def ibot_patch(
    teacher: Tensor,
    student: Tensor,
    *,
    mask: Tensor,
    center: Tensor,
    teacher_temperature: Positive = 0.04,
    student_temperature: Positive = 0.1,
) -> Tensor:
    """Mean over images of the mean over their masked patches of `-softmax((t - center) / tt) . log_softmax(s / ts)`.

    teacher, student: outputs [P, K] of the masked patches alone, in the order of mask [B, ...], booleans, True where a
    patch was masked: P times. An image without a masked patch counts as 0. center [K]: see `dino_center`. The teacher
    and the centre get no gradient. Beside the outputs themselves nothing of their size is held.

    Where students are uniform and each image has a masked patch the loss is log K. Raises DataError for shapes that do
    not agree.
    """
    check_same_shape({"teacher": teacher, "student": student}, kind="outputs [P, K]")
    check_center(center, teacher)
    if mask.dtype != torch.bool:
        raise ConfigError(f"mask must be a tensor of booleans, got {mask.dtype}: pass mask.bool().")
    counts = mask.flatten(1).sum(1)
    image = torch.arange(len(mask), device=mask.device).repeat_interleave(counts)
    if len(image) != len(teacher):
        raise ShapeError(f"mask must be True once for each of the {len(teacher)} patches, got {len(image)} times.")
    losses = cross_entropies([teacher], [student], center, teacher_temperature, student_temperature, same=True)
    return (losses / counts[image]).sum() / len(mask)


class IBOTPatchLoss(LossModule, of=ibot_patch):
    """`ibot_patch` with a centre of its own: `IBOTPatchLoss(output_dim=65536)(teacher_out, student_out, mask)`.

    The centre is the buffer `center` [1, output_dim]; each call moves it after the loss, by the mean over all
    processes. Values are those of lightly's class of this name.
    """

    center: ClassVar[Tensor]
    output_dim: Count = 65536
    teacher_temp: Positive = 0.04
    student_temp: Positive = 0.1
    center_mode: CenterMode = "mean"
    center_momentum: Fraction = 0.9

    def __post_init__(self) -> None:
        """Make the centre."""
        self.check_settings()
        self.register_buffer("center", torch.zeros(1, self.output_dim))

    def forward(
        self, teacher_out: Tensor, student_out: Tensor, mask: Tensor, teacher_temp: float | None = None
    ) -> Tensor:
        """The loss of outputs [P, output_dim] of the patches where mask [B, H, W] is True."""
        loss = self.compute(
            teacher_out, student_out, mask=mask, center=self.center, student_temperature=self.student_temp,
            teacher_temperature=self.teacher_temp if teacher_temp is None else teacher_temp,
        )  # fmt: skip
        move_center(self.center, [teacher_out], self.center_momentum)
        return loss
