"""DINO: the student must predict, from any view of a sample, what the teacher says of another.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", 2021, eq. 1 to 4 and algorithm 1.
https://arxiv.org/abs/2104.14294
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor

from nearfar.losses.core.batch import ShapeError, check_same_shape, own_rows, part
from nearfar.losses.core.gather import processes
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import checked, objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Count, Fraction, MeanReduction, Number, Positive, Word
from nearfar.losses.core.unit import wide

Epochs = Annotated[int, Number("must be >= 0", lambda x: x >= 0)]
CenterMode = Annotated[str, Word(("mean",))]

_SCORES = "outputs [B, K]"
_ENTRIES = 2**20  # of all views in a block: its temporaries stay within a few times 4 MB


@objective
def dino(
    teachers: Sequence[Tensor],
    students: Sequence[Tensor],
    *,
    center: Tensor,
    teacher_temperature: Positive = 0.04,
    student_temperature: Positive = 0.1,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
) -> Tensor:
    """Mean over samples and pairs of different views of `-softmax((t - center) / tt) . log_softmax(s / ts)`, eq. 3.

    teachers: outputs [B, K] of the wide views; students: of the same views in the same order, and of more; row i of
    sample i. center [K] keeps the teacher from giving one output for all (see `dino_center`). Teachers and centre get
    no gradient.

    rows: the samples whose losses are summed; the mean still divides by B, so that shares of disjoint rows sum to the
    whole. reduction "none" gives [rows]. Nothing of the size [B, K] is held beside the outputs themselves.

    Where students are uniform the loss is log K. Raises DataError for shapes that do not agree or no pair of views.
    """
    t, s = len(teachers), len(students)
    pairs = t * s - min(t, s)
    if pairs == 0:
        raise ShapeError(f"DINO compares different views, got {t} of the teacher and {s} of the student.")
    named = {f"teachers[{k}]": z for k, z in enumerate(teachers)}
    check_same_shape(named | {f"students[{k}]": z for k, z in enumerate(students)}, kind=_SCORES)
    check_center(center, teachers[0])
    b = len(teachers[0])
    own = own_rows(rows, b)
    mine, theirs = ([part(z, own) for z in views] for views in (teachers, students))
    sums = cross_entropies(mine, theirs, center, teacher_temperature, student_temperature, same=False)
    return reduce(sums / pairs, reduction, b)


def check_center(center: Tensor, outputs: Tensor) -> None:
    """Raise ShapeError unless the centre holds a number for each of the outputs [B, K]."""
    if center.numel() != outputs.shape[1]:
        raise ShapeError(
            f"center must be [{outputs.shape[1]}] for outputs {list(outputs.shape)}, got shape {list(center.shape)}."
        )


def cross_entropies(
    teachers: Sequence[Tensor], students: Sequence[Tensor], center: Tensor, tt: float, ts: float, *, same: bool
) -> Tensor:
    """Sums of `-softmax((t - center) / tt) . log_softmax(s / ts)` over pairs of different views, or `same` ones: [B].

    Probabilities are made for a block of samples at a time, and again in the backward pass.
    """
    # A copy: the blocks are made again after the caller may have moved the centre in place.
    c = wide(center.detach()).reshape(teachers[0].shape[1]).clone()
    views = [*(z.detach() for z in teachers), *students]
    out: Tensor = _CrossEntropies.apply(len(teachers), 1 / tt, 1 / ts, same, c, *views)
    return out


def _targets(teachers: Sequence[Tensor], center: Tensor, scale: float, students: int, same: bool) -> list[Tensor]:
    """What each student view must predict: the sum of what the teacher says of all other views (or its own), [b K]."""
    said = [((wide(z) - center) * scale).softmax(1) for z in teachers]
    if same:
        return said
    everything = torch.stack(said).sum(0)
    others = [said[:k] + said[k + 1 :] for k in range(min(len(said), students))]
    sums = [torch.stack(rest).sum(0) if rest else torch.zeros_like(everything) for rest in others]
    return sums + [everything] * (students - len(sums))


class _CrossEntropies(torch.autograd.Function):
    # Sums over pairs of different views [b], a block of samples at a time, which the backward pass makes again.

    @staticmethod
    def forward(
        ctx: Any, t: int, teacher_scale: float, student_scale: float, same: bool, center: Tensor, *views: Tensor
    ) -> Tensor:
        ctx.save_for_backward(center, *views)
        ctx.settings = (t, teacher_scale, student_scale, same)
        blocks = [_sums(block, center, *ctx.settings) for block in _blocks(views)]
        return torch.cat(blocks)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        center, *views = ctx.saved_tensors
        t, teacher_scale, student_scale, same = ctx.settings
        wanted = ctx.needs_input_grad[5:]
        if torch.is_grad_enabled():
            students = [z for z, wants in zip(views, wanted, strict=True) if wants]
            sums = _sums(views, center, *ctx.settings)
            found = iter(torch.autograd.grad(sums, students, grad, create_graph=True))
            return (None,) * 5 + tuple(next(found) if wants else None for wants in wanted)
        grads = [torch.empty_like(z) if wants else None for z, wants in zip(views, wanted, strict=True)]
        at = 0
        for block in _blocks(views):
            rows = slice(at, at + len(block[0]))
            at = rows.stop
            weights = grad[rows].unsqueeze(1) * student_scale
            targets = _targets(block[:t], center, teacher_scale, len(block) - t, same)
            for student, out, target in zip(block[t:], grads[t:], targets, strict=True):
                if out is not None:
                    mass = target.sum(1, keepdim=True)
                    softmax = (wide(student) * student_scale).softmax(1)
                    out[rows] = softmax.mul_(mass).sub_(target).mul_(weights)
        return (None,) * 5 + tuple(grads)


def _blocks(views: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    rows = max(1, _ENTRIES // max(1, len(views) * views[0].shape[1]))
    return zip(*(torch.split(z, rows) for z in views), strict=True)


def _sums(
    views: Sequence[Tensor], center: Tensor, t: int, teacher_scale: float, student_scale: float, same: bool
) -> Tensor:
    targets = _targets(views[:t], center, teacher_scale, len(views) - t, same)
    terms = [
        (target * (wide(z) * student_scale).log_softmax(1)).sum(1) for z, target in zip(views[t:], targets, strict=True)
    ]
    return -torch.stack(terms).sum(0)


@torch.no_grad()
@checked
def dino_center(center: Tensor, teachers: Sequence[Tensor], *, momentum: Fraction = 0.9) -> Tensor:
    """The centre after a batch, eq. 4: `momentum * center + (1 - momentum) * mean` of all teacher outputs.

    center holds K numbers in any shape, which is kept; teachers are [B, K] each, of all ranks. The step's loss uses the
    centre from before it.
    """
    check_same_shape({f"teachers[{k}]": z for k, z in enumerate(teachers)}, kind=_SCORES)
    mean = torch.stack([wide(z).mean(0) for z in teachers]).mean(0)
    return center.lerp(mean.to(center.dtype).view_as(center), 1 - momentum)


def move_center(center: Tensor, teachers: Sequence[Tensor], momentum: float) -> None:
    """Move a centre in place by one batch; under several processes, by the mean of their batches."""
    moved = dino_center(center, teachers, momentum=momentum)
    if processes() > 1:
        dist.all_reduce(moved)
        moved /= processes()
    center.copy_(moved)


class DINOLoss(LossModule, of=dino):
    """`dino` as a module with a centre of its own: `DINOLoss(output_dim=65536)(teacher_out, student_out, epoch=3)`.

    The teacher's temperature rises in a line from `warmup_teacher_temp` to `teacher_temp` over the first
    `warmup_teacher_temp_epochs` epochs where the epoch is given. The centre is the buffer `center` [1, 1, output_dim];
    each call moves it by `dino_center` after the loss, by the mean over all processes. Values are those of lightly's
    class of this name.
    """

    center: ClassVar[Tensor]
    output_dim: Count = 65536
    warmup_teacher_temp: Positive = 0.04
    teacher_temp: Positive = 0.04
    warmup_teacher_temp_epochs: Epochs = 30
    student_temp: Positive = 0.1
    center_momentum: Fraction = 0.9
    center_mode: CenterMode = "mean"

    def __post_init__(self) -> None:
        """Make the centre."""
        self.check_settings()
        self.register_buffer("center", torch.zeros(1, 1, self.output_dim))

    def forward(
        self,
        teacher_out: Sequence[Tensor],
        student_out: Sequence[Tensor],
        teacher_temp: float | None = None,
        epoch: int | None = None,
    ) -> Tensor:
        """The loss of outputs [B, output_dim] of each view; `teacher_temp` overrules the schedule of `epoch`."""
        loss = self.compute(
            teacher_out, student_out, center=self.center, student_temperature=self.student_temp,
            teacher_temperature=self.teacher_temp_at(epoch) if teacher_temp is None else teacher_temp,
        )  # fmt: skip
        self.update_center(teacher_out)
        return loss

    def teacher_temp_at(self, epoch: int | None) -> float:
        """The teacher's temperature in an epoch, counted from 0; without one, that after the warm-up."""
        if epoch is None or epoch >= self.warmup_teacher_temp_epochs:
            return self.teacher_temp
        done = epoch / max(1, self.warmup_teacher_temp_epochs - 1)
        return self.warmup_teacher_temp + done * (self.teacher_temp - self.warmup_teacher_temp)

    def update_center(self, teacher_out: Sequence[Tensor]) -> None:
        """Move the centre by one batch of teacher outputs."""
        move_center(self.center, teacher_out, self.center_momentum)
