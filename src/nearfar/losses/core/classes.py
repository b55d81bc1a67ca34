"""Embeddings against one vector for each class: what the proxy and the margin-softmax losses share."""

from dataclasses import InitVar
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from nearfar.errors import must
from nearfar.kernels import Pairs, row_lse
from nearfar.losses.core.batch import ShapeError, check_embeddings, own_rows, part
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.unit import unit


class AgainstClasses(NamedTuple):
    """Samples [R, D] of this share, all class vectors [C, D], and each sample's own class [R]; rows of length one."""

    samples: Tensor
    classes: Tensor
    labels: Tensor

    def own_classes(self) -> Tensor:
        """The vector of each sample's class: [R, D]."""
        return self.classes[self.labels]

    def others_lse(self, scale: float | Tensor, implementation: str) -> Tensor:
        """Log-sum-exp of scaled cosines with all classes but the sample's own: [R], -inf where there is no other."""
        numbers = torch.arange(len(self.classes), device=self.labels.device)
        pairs = Pairs(None, self.labels, numbers)
        return row_lse(self.samples, self.classes, scale=scale, pairs=pairs, implementation=implementation)


def against_classes(z: Tensor, vectors: Tensor, labels: Tensor, rows: slice | None = None) -> AgainstClasses:
    """z [B, D] and vectors [C, D] made unit length, labels [B] in 0..C-1; ShapeError where they do not fit."""
    check_embeddings("z", z)
    check_embeddings("class vectors", vectors, width=z.shape[1])
    b, classes = len(z), len(vectors)
    if b == 0:
        raise ShapeError("The batch is empty: a loss needs at least one sample.")
    if labels.shape != (b,) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ShapeError(f"labels must be [{b}] class numbers, got {labels.dtype} {list(labels.shape)}.")
    labels = labels.long()
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ShapeError(f"labels must be class numbers in 0..{classes - 1}, got {low}..{high}: number the classes.")
    own = own_rows(rows, b)
    return AgainstClasses(part(unit(z), own), unit(vectors), labels[own])


def class_vectors(dim: int, classes: int) -> nn.Parameter:
    """Vectors [C, D] to be learned, in directions drawn evenly over the sphere (torch's generator), lengths about 1."""
    must(dim > 0, "dim must be > 0", got=dim)
    must(classes > 0, "classes must be > 0", got=classes)
    return nn.Parameter(torch.randn(classes, dim) * dim**-0.5)


class ClassModule(LossModule):
    """A loss of labels with a learned vector of each class, in the parameter called `parameter` [C, D]."""

    parameter: ClassVar[str]
    dim: InitVar[int]
    classes: InitVar[int]

    def __post_init__(self, dim: int, classes: int) -> None:
        """Make the parameter."""
        self.check_settings()
        setattr(self, self.parameter, class_vectors(dim, classes))

    def forward(self, z: Tensor, *, labels: Tensor) -> Tensor:
        """The loss of z [B, D] of classes labels [B]."""
        return self.compute(z, getattr(self, self.parameter), labels=labels)
