"""Losses of embeddings against one learned vector a class: ArcFace, CosFace, normalised softmax, and proxies."""

import functools
import math
from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

from nearfar.errors import DataError, must
from nearfar.losses.arc_face import arc_face
from nearfar.losses.core.settings import Positive
from nearfar.losses.cos_face import cos_face
from nearfar.losses.pml.distances import COSINE, CosineSimilarity, DotProductSimilarity, LpDistance
from nearfar.losses.pml.losses.base import BaseMetricLossFunction, Regularizer, element_entry, reduced_entry
from nearfar.losses.pml.reducers import DivisorReducer, Losses
from nearfar.losses.pml.tuples import Indices, weights
from nearfar.losses.proxy_anchor import proxy_anchor
from nearfar.losses.proxy_nca import proxy_nca


class ClassLoss(BaseMetricLossFunction):
    """A loss of embeddings against one learned vector a class, labels 0..C-1.

    Where a miner's tuple is given, the loss of an embedding is weighed by how often it is listed, over the most often
    listed one. `weight_regularizer` is any function of the vectors [C, D] that gives a number, added
    `weight_reg_weight` times; `weight_init_func` fills the parameter in place.
    """

    takes_references = False
    parameter: ClassVar[str] = "W"  # W holds the vectors in its columns [D, C], proxies in its rows [C, D]
    default_init: ClassVar[Callable[[Tensor], Any]] = nn.init.normal_
    num_classes: int
    embedding_size: int
    _: KW_ONLY
    weight_regularizer: Regularizer | None = None
    weight_reg_weight: float = 1
    weight_init_func: Callable[[Tensor], Any] | None = None

    def __post_init__(self) -> None:
        """Make the parameter."""
        super().__post_init__()
        self.weight_init_func = self.weight_init_func or type(self).default_init
        shape = (self.embedding_size, self.num_classes)
        setattr(self, self.parameter, nn.Parameter(torch.empty(shape if self.parameter == "W" else shape[::-1])))
        self.weight_init_func(getattr(self, self.parameter))

    def vectors(self) -> Tensor:
        """The classes' vectors: [C, D]."""
        found: Tensor = getattr(self, self.parameter)
        return found.T if self.parameter == "W" else found

    def vectors_for(self, embeddings: Tensor) -> Tensor:
        """The classes' vectors in float64 where embeddings are; the parameter follows them to their device."""
        for parameter in self.parameters(recurse=False):
            parameter.data = parameter.data.to(embeddings.device)
        return self.vectors().double() if embeddings.dtype == torch.float64 else self.vectors()

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: Indices | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> Losses:
        """The losses of all embeddings, weighed."""
        labels = self.class_numbers(labels)
        losses = self.class_losses(embeddings, self.vectors_for(embeddings), labels)
        return {"loss": element_entry(losses * self.weights(indices_tuple, losses))}

    def class_losses(self, embeddings: Tensor, vectors: Tensor, labels: Tensor) -> Tensor:
        """The losses of embeddings [B, D] of classes labels [B] against all vectors [C, D]: [B]."""
        raise NotImplementedError

    def weights(self, indices: Indices | None, like: Tensor) -> Tensor:
        """How often each embedding is listed: [B], 1 for the most often listed."""
        return weights(indices, len(like), like)

    def class_numbers(self, labels: Tensor | None) -> Tensor:
        """The labels; raises DataError unless they number the classes."""
        if labels is None:
            raise DataError(f"{type(self).__name__} needs labels.")
        classes = len(self.vectors())
        if labels.is_floating_point() or (len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes):
            raise DataError(f"labels must be class numbers in 0..{classes - 1}: number the classes.")
        return labels.long()

    def reduced(self, losses: Losses, embeddings: Tensor, labels: Tensor | None) -> Any:
        """Each of the losses through the reducer, and the sum of them and of the regularizers."""
        if self.weight_regularizer is not None:
            term = self.weight_regularizer(self.vectors()) * self.weight_reg_weight
            losses["weight_reg_loss"] = reduced_entry(term)
        return super().reduced(losses, embeddings, labels)

    def get_logits(self, embeddings: Tensor) -> Tensor:
        """Distances from the classes' vectors: [B, D] -> [B, C]."""
        distances: Tensor = self.distance(embeddings, self.vectors_for(embeddings))
        return distances


class MarginSoftmaxLoss(ClassLoss):
    """Cross-entropy of `scale` times the cosines with the class vectors, the columns of `W` [D, C]."""

    default_distance = CosineSimilarity

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        cosine = self.distance.plain() == COSINE
        must(cosine, f"{type(self).__name__} compares by CosineSimilarity() alone", got=self.distance)

    def get_logits(self, embeddings: Tensor) -> Tensor:
        """Scaled cosines, without the margin: [B, D] -> [B, C]."""
        scale: float = self.scale  # type: ignore[assignment]
        return super().get_logits(embeddings) * scale


class ArcFaceLoss(MarginSoftmaxLoss):
    """`nearfar.losses.arc_face` with the margin in degrees (`self.margin` holds it in radians)."""

    margin: float = 28.6
    scale: float = 64

    def __post_init__(self) -> None:
        """Take degrees."""
        super().__post_init__()
        self.margin = math.radians(self.margin)

    def class_losses(self, embeddings: Tensor, vectors: Tensor, labels: Tensor) -> Tensor:
        """The losses of embeddings [B, D] of classes labels [B] against all vectors [C, D]: [B]."""
        return arc_face(embeddings, vectors, labels=labels, scale=self.scale, margin=self.margin, reduction="none")


class CosFaceLoss(MarginSoftmaxLoss):
    """`nearfar.losses.cos_face`: the margin is taken from the cosine."""

    margin: float = 0.35
    scale: float = 64

    def class_losses(self, embeddings: Tensor, vectors: Tensor, labels: Tensor) -> Tensor:
        """The losses of embeddings [B, D] of classes labels [B] against all vectors [C, D]: [B]."""
        return cos_face(embeddings, vectors, labels=labels, scale=self.scale, margin=self.margin, reduction="none")


class NormalizedSoftmaxLoss(ClassLoss):
    """Cross-entropy of similarities over `temperature` with the normalised columns of `W` [D, C].

    Zhai & Wu, "Classification is a Strong Baseline for Deep Metric Learning", 2019. https://arxiv.org/abs/1811.12649
    """

    default_distance = DotProductSimilarity
    temperature: Positive = 0.05

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


class ProxyNCALoss(ClassLoss):
    """`-log softmax(-softmax_scale * d)` at an embedding's class, over all proxies; d is squared and of unit vectors.

    A miner's tuple weighs by how often an embedding is an anchor.
    """

    parameter = "proxies"
    default_distance = functools.partial(LpDistance, power=2)
    softmax_scale: float = 1

    def class_losses(self, embeddings: Tensor, vectors: Tensor, labels: Tensor) -> Tensor:
        """The losses of embeddings [B, D] of classes labels [B] against all vectors [C, D]: [B]."""
        if self.distance.plain() == ("squared_euclidean", True):
            return proxy_nca(embeddings, vectors, labels=labels, scale=self.softmax_scale, reduction="none")
        similarities = self.distance.margin(0, self.get_logits(embeddings))
        return cross_entropy(self.softmax_scale * similarities, labels, reduction="none")

    def weights(self, indices: Indices | None, like: Tensor) -> Tensor:
        """How often each embedding is an anchor: [B], 1 for the most often."""
        return weights(indices, len(like), like, anchors_only=True)


class ProxyAnchorLoss(ClassLoss):
    """`nearfar.losses.proxy_anchor`, with any distance and reducer: sums over the proxies that count.

    A miner's tuple adds the weight of an embedding, less 1, to its exponents.
    """

    parameter = "proxies"
    default_distance = CosineSimilarity
    default_reducer = DivisorReducer
    default_init = functools.partial(nn.init.kaiming_normal_, mode="fan_out")
    margin: float = 0.1
    alpha: float = 32

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
