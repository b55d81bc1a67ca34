"""A learned proxy for each class: Proxy-NCA and Proxy-Anchor."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

from nearfar.losses.pml.distances import COSINE, BaseDistance, CosineSimilarity, LpDistance
from nearfar.losses.pml.losses.base import ClassLoss, element_entry, reduced_entry
from nearfar.losses.pml.reducers import BaseReducer, DivisorReducer, Losses
from nearfar.losses.pml.tuples import Indices, weights
from nearfar.losses.proxy_anchor import proxy_anchor
from nearfar.losses.proxy_nca import proxy_nca


class ProxyLoss(ClassLoss):
    """A loss of embeddings against `proxies` [C, D]."""

    def __init__(self, num_classes: int, embedding_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.proxies = nn.Parameter(torch.empty(num_classes, embedding_size))
        self.weight_init_func(self.proxies)

    def vectors(self) -> Tensor:
        """`proxies`: [C, D]."""
        return self.proxies

    def get_logits(self, embeddings: Tensor) -> Tensor:
        """Distances from the proxies: [B, D] -> [B, C]."""
        distances: Tensor = self.distance(embeddings, self.vectors_for(embeddings))
        return distances


class ProxyNCALoss(ProxyLoss):
    """`-log softmax(-softmax_scale * d)` at an embedding's class, over all proxies; d is squared and of unit vectors.

    A miner's tuple weighs by how often an embedding is an anchor.
    """

    def __init__(self, num_classes: int, embedding_size: int, softmax_scale: float = 1, **kwargs: Any):
        super().__init__(num_classes, embedding_size, **kwargs)
        self.softmax_scale = softmax_scale

    def class_losses(self, embeddings: Tensor, vectors: Tensor, labels: Tensor) -> Tensor:
        """The losses of embeddings [B, D] of classes labels [B] against all vectors [C, D]: [B]."""
        if self.distance.plain() == ("squared_euclidean", True):
            return proxy_nca(embeddings, vectors, labels=labels, scale=self.softmax_scale, reduction="none")
        similarities = self.distance.margin(0, self.get_logits(embeddings))
        return cross_entropy(self.softmax_scale * similarities, labels, reduction="none")

    def weights(self, indices: Indices | None, like: Tensor) -> Tensor:
        """How often each embedding is an anchor: [B], 1 for the most often."""
        return weights(indices, len(like), like, anchors_only=True)

    def get_default_distance(self) -> BaseDistance:
        """The squared distance of unit vectors."""
        return LpDistance(power=2)


class ProxyAnchorLoss(ProxyLoss):
    """`nearfar.losses.proxy_anchor`, with any distance and reducer.

    A miner's tuple adds the weight of an embedding, less 1, to its exponents.
    """

    def __init__(self, num_classes: int, embedding_size: int, margin: float = 0.1, alpha: float = 32, **kwargs: Any):
        super().__init__(num_classes, embedding_size, **kwargs)
        self.margin = margin
        self.alpha = alpha

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: Indices | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> Losses:
        """The losses of all proxies, towards their positives and towards their negatives."""
        labels = self.class_numbers(labels)
        default = type(self.reducer) is DivisorReducer and self.distance.plain() == COSINE
        if default and indices_tuple is None and self.margin >= 0:
            vectors = self.vectors_for(embeddings)
            total = proxy_anchor(embeddings, vectors, labels=labels, alpha=self.alpha, margin=self.margin)
            return {"loss": reduced_entry(total)}
        distances = self.get_logits(embeddings)  # [B C]
        extra = weights(indices_tuple, len(embeddings), distances).unsqueeze(1) - 1
        own = torch.zeros_like(distances, dtype=torch.bool).scatter(1, labels[:, None], True)
        pulls = self.alpha * self.distance.margin(distances, self.margin) + extra
        pushes = self.alpha * self.distance.margin(-self.margin, distances) + extra
        pull, push = (
            softplus(terms.masked_fill(~mask, torch.finfo(terms.dtype).min).logsumexp(0), threshold=40)
            for terms, mask in ((pulls, own), (pushes, ~own))
        )
        return {
            "pos_loss": element_entry(pull, divisor=int(own.any(0).sum())),
            "neg_loss": element_entry(push, divisor=self.num_classes),
        }

    def get_default_reducer(self) -> BaseReducer:
        """Sums over the number of proxies that have positives, and of all."""
        return DivisorReducer()

    def get_default_distance(self) -> BaseDistance:
        """The cosine."""
        return CosineSimilarity()

    def get_default_weight_init_func(self) -> Any:
        """Normally distributed, the variance 2 over the number of classes."""
        return functools.partial(nn.init.kaiming_normal_, mode="fan_out")
