"""Circle loss: each similarity is weighed by how far it is from where it should be."""

from typing import Any

from torch import Tensor

from nearfar.errors import must
from nearfar.losses.circle import circle
from nearfar.losses.pml.distances import COSINE, BaseDistance, CosineSimilarity
from nearfar.losses.pml.losses.base import BaseMetricLossFunction, by_labels, element_entry
from nearfar.losses.pml.reducers import AvgNonZeroReducer, BaseReducer, Losses
from nearfar.losses.pml.tuples import Indices, distinct_pairs


class CircleLoss(BaseMetricLossFunction):
    """`nearfar.losses.circle` with margin m, by the cosine; an anchor that lacks either kind of pair has loss 0."""

    def __init__(self, m: float = 0.4, gamma: float = 80, **kwargs: Any):
        super().__init__(**kwargs)
        must(self.distance.plain() == COSINE, "CircleLoss compares by CosineSimilarity() alone", got=self.distance)
        self.m = m
        self.gamma = gamma

    def of_labels(self, embeddings: Tensor, *compared: Any) -> Losses | None:
        """The losses of all anchors."""
        return self._losses(embeddings, **by_labels(embeddings, *compared))

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: Indices | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> Losses:
        """The losses of all anchors over listed pairs."""
        pairs = distinct_pairs(indices_tuple, labels, ref_labels, len(ref_emb))
        return self._losses(embeddings, pairs=pairs, reference=None if ref_emb is embeddings else ref_emb)

    def _losses(self, embeddings: Tensor, **compared: Any) -> Losses:
        losses = circle(embeddings, margin=self.m, gamma=self.gamma, reduction="none", **compared)
        return {"loss": element_entry(losses)}

    def get_default_reducer(self) -> BaseReducer:
        """The mean over losses above 0."""
        return AvgNonZeroReducer()

    def get_default_distance(self) -> BaseDistance:
        """The cosine."""
        return CosineSimilarity()
