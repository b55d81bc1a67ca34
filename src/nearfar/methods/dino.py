"""DINO: a student predicts, from any view of a sample, what its own moving average says of another view.

Caron et al., "Emerging properties in self-supervised vision transformers", 2021, eq. 1 to 4 and algorithm 1:
z = projector(encoder(view)), scores = last layer of unit rows applied to z of unit length; loss = cross-entropy of
softmax((teacher's scores - centre) / teacher temperature) with softmax(student's scores / temperature), over pairs of
different views. The teacher sees the wide views only and follows the student by an exponential average; the centre
follows the mean of its scores. All views of the student share batch statistics, where their shapes are equal.

Differs from the paper: the projector has batch norm and ReLU, which suits convolutional networks, where the paper has
GELU for transformers; momentum, temperatures and the size of the last layer follow the size of the data; and a run ends
with the student's encoder, the paper's with the teacher's: with momentum 0.99 a teacher of a few hundred steps is the
worse one (CIFAR-10, 5,000 images, 500 steps of 64: kNN 39.2 and 37.8 %, linear 45.1 and 44.3 %).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.errors import must
from nearfar.losses import dino, dino_center
from nearfar.methods import momentum
from nearfar.methods.heads import Prototypes, mlp, usual
from nearfar.options import UNKNOWN, Choice, Facts, Settling

_FROZEN = 0.01
"""Share of the run in which the last layer stays as it is: the paper has one epoch of 100."""
_WARMUP = 0.3
"""Share of the run in which the teacher's temperature rises: the paper has 30 epochs of 100."""
_ENTRIES = 2**26
"""Scores of all views that are held at once: 256 MB of them; more are made in chunks, and again for the gradient."""


@dataclass(frozen=True, kw_only=True)
class DINOOptions:
    """Options of dino; None stands for automatic."""

    temperature: float = 0.1
    """Softmax temperature of the student."""
    teacher_temperature: float | None = None
    """Softmax temperature of the teacher after its warm-up; lower makes its word harder."""
    teacher_temperature_start: float | None = None
    """Softmax temperature of the teacher at the start, from where it rises in a line over the first 0.3 of the run."""
    center_momentum: float = 0.9
    """How slowly the centre follows the mean of the teacher's scores."""
    momentum: float | None = None
    """How slowly the teacher follows the student at the start; rises to 1."""
    prototypes: int | None = None
    """Outputs of the last layer."""
    projector_hidden: int | None = None
    """Width of the projector's two hidden layers."""
    projector_out: int = 256
    """Dimensions of the bottleneck in front of the last layer."""
    small_views: int = 0
    """Small views of each sample beside the two wide ones (multi-crop)."""

    def __post_init__(self) -> None:
        for name in ("temperature", "teacher_temperature", "teacher_temperature_start"):
            value = getattr(self, name)
            must(value is None or value > 0, f"{name} must be above 0", got=value)
        for name in ("momentum", "center_momentum"):
            value = getattr(self, name)
            must(value is None or 0 <= value <= 1, f"{name} must be in [0, 1]", got=value)
        for name, least in (("prototypes", 2), ("projector_hidden", 1), ("projector_out", 2), ("small_views", 0)):
            value = getattr(self, name)
            must(value is None or value >= least, f"{name} must be at least {least}", got=value)


class DINO(Method):
    """A student and its teacher, each an encoder, a projector and a last layer, which lives in the loss stage."""

    Options = DINOOptions
    rate: ClassVar[float] = 1.0
    requires = Requirements(wide=2)
    center: Tensor

    def __init__(self, encoder: Encoder, options: DINOOptions) -> None:
        super().__init__(encoder)
        options, _ = self.settle(options, UNKNOWN, encoder)
        assert options.momentum is not None
        assert options.prototypes is not None
        assert options.projector_hidden is not None
        self.options = options
        self.momentum = options.momentum
        self.requires = Requirements(wide=2, small=options.small_views)
        hidden, bottleneck = options.projector_hidden, options.projector_out
        self.projector = mlp(encoder.dim, hidden, hidden, bottleneck)
        self.prototypes = Prototypes(bottleneck, options.prototypes, frozen_until=_FROZEN)
        self.teacher_encoder = momentum.lagging(encoder)
        self.teacher_projector = momentum.lagging(self.projector)
        self.teacher_prototypes = momentum.lagging(self.prototypes)
        self.register_buffer("center", torch.zeros(options.prototypes))

    @classmethod
    def settle(cls, options: DINOOptions, facts: Facts, encoder: Encoder) -> tuple[DINOOptions, list[Choice]]:
        """Fill in what was not given: what the teacher and the last layer are, by the number of samples."""
        settling = Settling(options)
        samples = facts.samples
        size = f"for {samples:,} samples"
        start, end = temperatures_for(samples)
        settling.choose("teacher_temperature", end, size)
        start = min(start, settling.options.teacher_temperature or start)
        settling.choose("teacher_temperature_start", start, "at most the teacher's own")
        settling.choose("momentum", momentum.for_samples(samples), size)
        settling.choose("prototypes", prototypes_for(samples), size)
        settling.choose("projector_hidden", *usual(encoder))
        return settling.options, settling.choices

    def embed(self, views: Views) -> Latents:
        """The student's bottleneck, of all views."""
        features = self.encoder(views)  # [v b dim]
        return Latents(student=_each(self.projector, features), features=features)

    def targets(self, views: Views) -> Latents:
        """The teacher's bottleneck, of the wide views."""
        return Latents(teacher=_each(self.teacher_projector, self.teacher_encoder(views[: views.wide])))

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """Cross-entropies of the own rows."""
        student, teacher = z["student"][:, batch.rows], z["teacher"][:, batch.rows]  # [v rows d]
        views, rows, _ = student.shape
        temperature = self.teacher_temperature(batch.progress)
        size = max(1, _ENTRIES // (views * len(self.center)))
        total = student[:, :0].sum()  # of no rows: an empty rank's share has a graph too
        for start in range(0, rows, size):
            part = student[:, start : start + size], teacher[:, start : start + size]
            if rows > size:
                found = checkpoint(self._sum, *part, temperature, use_reentrant=False)
            else:
                found = self._sum(*part, temperature)
            total = total + found
        return Losses(total / z["student"].shape[1])

    def _sum(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        with torch.no_grad():
            teachers = self.teacher_prototypes(teacher).unbind()
        return dino(
            teachers, self.prototypes(student).unbind(), center=self.center, teacher_temperature=temperature,
            student_temperature=self.options.temperature, reduction="sum",
        )  # fmt: skip

    def after_step(self, z: Latents, batch: Batch) -> None:
        """Move the centre by what the teacher said in this step, then the teacher towards the student."""
        with torch.no_grad():
            said = self.teacher_prototypes(z["teacher"]).unbind()
        self.center.copy_(dino_center(self.center, said, momentum=self.options.center_momentum))
        m = momentum.rising(batch.progress, self.momentum)
        momentum.follow(self.teacher_encoder, self.encoder, m)
        momentum.follow(self.teacher_projector, self.projector, m)
        momentum.follow(self.teacher_prototypes, self.prototypes, m)

    def teacher_temperature(self, progress: float) -> float:
        """The teacher's temperature where `progress` in [0, 1] of the run is done."""
        start, end = self.options.teacher_temperature_start, self.options.teacher_temperature
        assert start is not None
        assert end is not None
        return start + (end - start) * min(1.0, progress / _WARMUP)


def prototypes_for(samples: int) -> int:
    """Eight times the root of the number of samples, as a power of 2 from 128 to 65536: 2048 for CIFAR's 50,000."""
    return int(2 ** min(16, max(7, round(math.log2(8 * math.sqrt(samples))))))


def temperatures_for(samples: int) -> tuple[float, float]:
    """The teacher's at the start and after the warm-up: 0.04 and 0.07 as in the paper beyond 100,000 samples.

    0.02 up to there, 0.01 up to 2,000: small data is trained for few steps, and latents that have not yet spread leave
    a soft teacher with nothing to say (digits, 200 steps: the loss ends near log K with 0.02, and falls with 0.01).
    """
    return (0.01, 0.01) if samples <= 2_000 else (0.02, 0.02) if samples <= 100_000 else (0.04, 0.07)


def _each(network: torch.nn.Module, features: Tensor) -> Tensor:
    """A network of vectors on features `[v, b, dim]` of all views together."""
    found: Tensor = network(features.flatten(0, 1))
    return found.view(*features.shape[:2], -1)


METHOD = DINO
