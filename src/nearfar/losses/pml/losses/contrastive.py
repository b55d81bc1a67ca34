"""Margin contrastive over all pairs: a mean over positive pairs plus a mean over negative pairs."""

from typing import Any

from torch import Tensor

from nearfar.losses.contrastive import labelled_contrastive
from nearfar.losses.pml.distances import COSINE
from nearfar.losses.pml.losses.base import BaseMetricLossFunction, by_labels, reduced_entry
from nearfar.losses.pml.reducers import AvgNonZeroReducer, BaseReducer, Losses
from nearfar.losses.pml.tuples import Indices, to_pairs


class ContrastiveLoss(BaseMetricLossFunction):
    """`max(0, d - pos_margin)` of positive pairs and `max(0, neg_margin - d)` of negative ones, neither squared.

    With a similarity, `max(0, pos_margin - s)` and `max(0, s - neg_margin)`.
    """

    def __init__(self, pos_margin: float = 0, neg_margin: float = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.pos_margin = pos_margin
        self.neg_margin = neg_margin

    def of_labels(self, embeddings: Tensor, *compared: Any) -> Losses | None:
        """`labelled_contrastive`, where distance, reducer and margins are among its own."""
        plain = self.distance.plain()
        if plain is None or self.word is None:
            return None
        # A cosine of s is a distance of 1 - s.
        near, far = ((1 - m if plain == COSINE else m) for m in (self.pos_margin, self.neg_margin))
        if near < 0 or far <= 0:
            return None
        total = labelled_contrastive(
            embeddings, margin=far, positive_margin=near, squared=False, reduction=self.word, **plain._asdict(),
            **by_labels(embeddings, *compared),
        )  # fmt: skip
        return {"loss": reduced_entry(total)}

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: Indices | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> Losses:
        """The losses of listed pairs."""
        a1, p, a2, n = to_pairs(indices_tuple, labels, ref_labels)
        near, far = (self.distance.of_pairs(embeddings, ref_emb, *pair) for pair in ((a1, p), (a2, n)))
        pulls = self.distance.margin(near, self.pos_margin).relu()
        pushes = self.distance.margin(self.neg_margin, far).relu()
        # Losses of no pair have no mean.
        return {
            "pos_loss": {"losses": pulls if len(p) else 0, "indices": (a1, p), "reduction_type": "pos_pair"},
            "neg_loss": {"losses": pushes if len(n) else 0, "indices": (a2, n), "reduction_type": "neg_pair"},
        }

    def get_default_reducer(self) -> BaseReducer:
        """The mean over losses above 0, of each kind of pair."""
        return AvgNonZeroReducer()
