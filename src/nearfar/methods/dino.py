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

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.losses import dino, dino_center
from nearfar.methods import momentum
from nearfar.methods.heads import Prototypes, mlp, together
from nearfar.methods.options import DINOOptions
from nearfar.methods.sizes import momentum_for, projector_width
from nearfar.options import Facts, Settling

_FROZEN = 0.01
"""Share of the run in which the last layer stays as it is: the paper has one epoch of 100."""
_WARMUP = 0.3
"""Share of the run in which the teacher's temperature rises: the paper has 30 epochs of 100."""
_ENTRIES = 2**26
"""Scores of all views that are held at once: 256 MB of them; more are made in chunks, and again for the gradient."""


class DINO(Method):
    """A student and its teacher, each an encoder, a projector and a last layer, which lives in the loss stage."""

    Options = DINOOptions
    options: DINOOptions
    requires = Requirements(wide=2)
    center: Tensor

    def __init__(self, encoder: Encoder, options: DINOOptions | None = None) -> None:
        super().__init__(encoder, options)
        o = self.options
        self.projector = mlp(encoder.dim, o.projector_hidden, o.projector_hidden, o.projector_out)
        self.prototypes = Prototypes(o.projector_out, o.prototypes, frozen_until=_FROZEN)
        self.teacher_encoder = momentum.frozen_copy(encoder)
        self.teacher_projector = momentum.frozen_copy(self.projector)
        self.teacher_prototypes = momentum.frozen_copy(self.prototypes)
        self.register_buffer("center", torch.zeros(o.prototypes))

    @classmethod
    def required(cls, options: DINOOptions) -> Requirements:
        """Two wide views, and the small ones that are asked for."""
        return Requirements(wide=2, small=options.small_views)

    @classmethod
    def choose(cls, settling: Settling[DINOOptions], facts: Facts, encoder: Encoder) -> None:
        """What the teacher and the last layer are, by the number of samples."""
        size = f"for {facts.samples:,} samples"
        start, end = temperatures_for(facts.samples)
        settling.choose("teacher_temperature", end, size)
        start = min(start, settling.options.teacher_temperature)
        settling.choose("teacher_temperature_start", start, "at most the teacher's own")
        settling.choose("momentum", *momentum_for(facts.samples))
        settling.choose("prototypes", prototypes_for(facts.samples), size)
        settling.choose("projector_hidden", *projector_width(encoder))

    def embed(self, views: Views) -> Latents:
        """The student's bottleneck, of all views."""
        features = self.encoder(views)  # [v b dim]
        return Latents(student=together(self.projector, features), features=features)

    def targets(self, views: Views) -> Latents:
        """The teacher's bottleneck, of the wide views."""
        return Latents(teacher=together(self.teacher_projector, self.teacher_encoder(views[: views.wide])))

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
        m = momentum.scheduled(batch.progress, self.options.momentum)
        momentum.update(self.teacher_encoder, self.encoder, m)
        momentum.update(self.teacher_projector, self.projector, m)
        momentum.update(self.teacher_prototypes, self.prototypes, m)

    def teacher_temperature(self, progress: float) -> float:
        """The teacher's temperature where `progress` in [0, 1] of the run is done."""
        start, end = self.options.teacher_temperature_start, self.options.teacher_temperature
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


METHOD = DINO
