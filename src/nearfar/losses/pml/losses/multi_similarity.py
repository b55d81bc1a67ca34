"""Multi-similarity: similar positives and dissimilar negatives weigh little, and each is weighed against its like."""

from typing import Any

from torch import Tensor
from torch.nn.functional import softplus

from nearfar.losses.core.tuples import anchor_lse
from nearfar.losses.multi_similarity import multi_similarity
from nearfar.losses.pml.distances import COSINE, BaseDistance, CosineSimilarity
from nearfar.losses.pml.losses.base import BaseMetricLossFunction, by_labels, element_entry
from nearfar.losses.pml.reducers import Losses
from nearfar.losses.pml.tuples import Indices, distinct_pairs


class MultiSimilarityLoss(BaseMetricLossFunction):
    """`nearfar.losses.multi_similarity`, with any distance: the mean over all anchors."""

    def __init__(self, alpha: float = 2, beta: float = 50, base: float = 0.5, **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha = alpha
        self.beta = beta
        self.base = base

    def of_labels(self, embeddings: Tensor, *compared: Any) -> Losses | None:
        """The losses of all anchors, where the distance is the cosine."""
        if self.distance.plain() != COSINE:
            return None
        losses = multi_similarity(
            embeddings, alpha=self.alpha, beta=self.beta, base=self.base, reduction="none",
            **by_labels(embeddings, *compared),
        )  # fmt: skip
        return {"loss": element_entry(losses)}

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: Indices | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> Losses:
        """The losses of all anchors over listed pairs."""
        a1, p, a2, n = distinct_pairs(indices_tuple, labels, ref_labels, len(ref_emb))
        pulls = self.distance.margin(self.distance.of_pairs(embeddings, ref_emb, a1, p), self.base)
        pushes = self.distance.margin(self.base, self.distance.of_pairs(embeddings, ref_emb, a2, n))
        pull, push = (
            softplus(anchor_lse(weight * terms, anchors, len(embeddings)), threshold=40) / weight
            for weight, terms, anchors in ((self.alpha, pulls, a1), (self.beta, pushes, a2))
        )
        return {"loss": element_entry(pull + push)}

    def get_default_distance(self) -> BaseDistance:
        """The cosine."""
        return CosineSimilarity()
