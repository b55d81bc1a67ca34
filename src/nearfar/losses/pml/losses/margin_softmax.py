"""Classification by cosines, where a sample must be nearer to its class by a margin: ArcFace and CosFace."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.errors import must
from nearfar.losses.arc_face import arc_face
from nearfar.losses.cos_face import cos_face
from nearfar.losses.pml.distances import COSINE, BaseDistance, CosineSimilarity
from nearfar.losses.pml.losses.base import ClassLoss


class MarginSoftmaxLoss(ClassLoss):
    """Cross-entropy of `scale` times the cosines with the class vectors, the columns of `W` [D, C]."""

    def __init__(self, num_classes: int, embedding_size: int, margin: float, scale: float = 64, **kwargs: Any):
        super().__init__(**kwargs)
        cosine = self.distance.plain() == COSINE
        must(cosine, f"{type(self).__name__} compares by CosineSimilarity() alone", got=self.distance)
        self.num_classes = num_classes
        self.margin = margin
        self.scale = scale
        self.W = nn.Parameter(torch.empty(embedding_size, num_classes))
        self.weight_init_func(self.W)

    def vectors(self) -> Tensor:
        """The columns of `W`: [C, D]."""
        return self.W.T

    def get_logits(self, embeddings: Tensor) -> Tensor:
        """Scaled cosines, without the margin: [B, D] -> [B, C]."""
        logits: Tensor = self.distance(embeddings, self.vectors_for(embeddings)) * self.scale
        return logits

    def get_default_distance(self) -> BaseDistance:
        """The cosine."""
        return CosineSimilarity()


class ArcFaceLoss(MarginSoftmaxLoss):
    """`nearfar.losses.arc_face` with the margin in degrees (`self.margin` holds it in radians)."""

    def __init__(self, num_classes: int, embedding_size: int, margin: float = 28.6, scale: float = 64, **kwargs: Any):
        super().__init__(num_classes, embedding_size, math.radians(margin), scale, **kwargs)

    def class_losses(self, embeddings: Tensor, vectors: Tensor, labels: Tensor) -> Tensor:
        """The losses of embeddings [B, D] of classes labels [B] against all vectors [C, D]: [B]."""
        return arc_face(embeddings, vectors, labels=labels, scale=self.scale, margin=self.margin, reduction="none")


class CosFaceLoss(MarginSoftmaxLoss):
    """`nearfar.losses.cos_face`: the margin is taken from the cosine."""

    def __init__(self, num_classes: int, embedding_size: int, margin: float = 0.35, scale: float = 64, **kwargs: Any):
        super().__init__(num_classes, embedding_size, margin, scale, **kwargs)

    def class_losses(self, embeddings: Tensor, vectors: Tensor, labels: Tensor) -> Tensor:
        """The losses of embeddings [B, D] of classes labels [B] against all vectors [C, D]: [B]."""
        return cos_face(embeddings, vectors, labels=labels, scale=self.scale, margin=self.margin, reduction="none")
