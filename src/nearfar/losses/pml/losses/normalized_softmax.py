"""Classification by cosines at a temperature.

Zhai & Wu, "Classification is a Strong Baseline for Deep Metric Learning", 2019. https://arxiv.org/abs/1811.12649
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nearfar.errors import must
from nearfar.losses.cos_face import cos_face
from nearfar.losses.pml.distances import COSINE, BaseDistance, DotProductSimilarity
from nearfar.losses.pml.losses.base import ClassLoss


class NormalizedSoftmaxLoss(ClassLoss):
    """Cross-entropy of similarities over `temperature` with the normalised columns of `W` [D, C]."""

    def __init__(self, num_classes: int, embedding_size: int, temperature: float = 0.05, **kwargs: Any):
        super().__init__(**kwargs)
        must(temperature > 0, "temperature must be > 0", got=temperature)
        self.temperature = temperature
        self.W = nn.Parameter(torch.empty(embedding_size, num_classes))
        self.weight_init_func(self.W)

    def vectors(self) -> Tensor:
        """The columns of `W`: [C, D]."""
        return self.W.T

    def class_losses(self, embeddings: Tensor, vectors: Tensor, labels: Tensor) -> Tensor:
        """The losses of embeddings [B, D] of classes labels [B] against all vectors [C, D]: [B]."""
        if self.distance.plain() == COSINE:
            return cos_face(embeddings, vectors, labels=labels, scale=1 / self.temperature, margin=0, reduction="none")
        return cross_entropy(self.get_logits(embeddings), labels, reduction="none")

    def get_logits(self, embeddings: Tensor) -> Tensor:
        """Similarities over temperature: [B, D] -> [B, C]."""
        vectors = self.distance.normalize(self.vectors_for(embeddings))
        logits: Tensor = self.distance.margin(0, self.distance(embeddings, vectors)) / self.temperature
        return logits

    def get_default_distance(self) -> BaseDistance:
        """The dot product of unit vectors."""
        return DotProductSimilarity()
