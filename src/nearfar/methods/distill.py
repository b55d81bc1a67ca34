"""Distillation: an encoder learns from the vectors that another one, the teacher, makes of the same samples.

Tian et al., "Contrastive representation distillation", 2020: z = head(encoder(view)) must find the teacher's vector of
its sample among those of the batch (InfoNCE). Other published forms are an option: `similarity`, how alike the teacher
finds the samples of the batch (Fang et al., "SEED", 2021, eq. 4 to 6); `cosine` and `mse`, its vectors themselves
(Romero et al., "FitNets", 2015, eq. 3, of the last layer).

Differs from the papers: the teacher sees each sample once, as it is, and the encoder augmented views of it; negatives
and similarities are those of the batch instead of a memory; the frame has centred the teacher's vectors. The head is a
linear map, so that what is learnt lies in the encoder's own features.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.contract import Batch, Encoder, Latents, Losses, Requirements
from nearfar.errors import ConfigError
from nearfar.losses import info_nce, seed_distill
from nearfar.methods.heads import Projected, mlp
from nearfar.methods.options import DistillOptions
from nearfar.options import Facts, Settling


class Distill(Projected):
    """An encoder with a map to the teacher's vectors."""

    Options = DistillOptions
    options: DistillOptions
    requires = Requirements(wide=2, targets=True)
    ring: ClassVar[Mapping[str, Any] | None] = None

    def __init__(self, encoder: Encoder, options: DistillOptions | None = None) -> None:
        super().__init__(encoder, options)
        self.projector = self.head()  # of any encoder: the vectors compared are the teacher's

    @property
    def width(self) -> int:
        """The length of the teacher's vectors."""
        return self.options.target_dim

    @classmethod
    def compares_features(cls, options: DistillOptions) -> bool:
        """Never: there is always a map to the teacher's vectors."""
        return False

    def head(self) -> nn.Sequential:
        """A linear map, or one with a hidden layer.

        Between spaces of one size the map starts as the identity: weights that are adapted beside themselves as they
        came, `--pretrained W --teacher W`, start where they are to stay.
        """
        hidden = [self.options.projector_hidden] if self.options.projector_hidden else []
        made = mlp(self.encoder.dim, *hidden, self.options.target_dim, norm=bool(hidden))
        if not hidden and self.encoder.dim == self.options.target_dim:
            assert isinstance(made[0], nn.Linear)
            nn.init.eye_(made[0].weight)
        return made

    @classmethod
    def choose(cls, settling: Settling[DistillOptions], facts: Facts, encoder: Encoder) -> None:
        """The dimensions of the teacher's vectors."""
        settling.choose("target_dim", facts.targets or encoder.dim, "those of the teacher")

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The mean over views of the own rows against what the teacher makes of all ranks' samples."""
        if batch.targets is None:
            raise ConfigError("distill learns from a teacher: its vectors are Batch.targets.")
        targets = batch.targets.to(z["z"].dtype)
        return Losses(torch.stack([self._of_view(view, targets, batch) for view in z["z"]]).mean())

    def _of_view(self, view: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        options, own, count = self.options, batch.rows, len(targets)
        match options.form:
            case "contrast":
                return info_nce(view, targets, temperature=options.temperature, ids=batch.ids, rows=own)
            case "similarity":
                sharp = options.teacher_temperature
                return seed_distill(view, targets, temperature=options.temperature, teacher_temperature=sharp, rows=own)
            case "cosine":
                return (1 - (normalize(view[own], dim=-1) * normalize(targets[own], dim=-1)).sum(-1)).sum() / count
            case "mse":
                return (view[own] - targets[own]).square().mean(-1).sum() / count


METHOD = Distill
