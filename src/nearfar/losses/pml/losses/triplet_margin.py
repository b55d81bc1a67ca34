"""Triplet margin: an anchor nearer to its positive than to its negative, by a margin."""

from typing import Any

from torch import Tensor
from torch.nn.functional import softplus

from nearfar.errors import must
from nearfar.losses.pml.losses.base import BaseMetricLossFunction, by_labels, reduced_entry
from nearfar.losses.pml.reducers import AvgNonZeroReducer, BaseReducer, Losses
from nearfar.losses.pml.tuples import Indices, to_triplets
from nearfar.losses.triplet import labelled_triplet


class TripletMarginLoss(BaseMetricLossFunction):
    """`max(0, d_ap - d_an + margin)`, or `log(1 + exp(d_ap - d_an + margin))` with smooth_loss.

    swap: the negative is compared with the nearer to it of anchor and positive. triplets_per_anchor: "all", or how many
    are drawn for each anchor.
    """

    def __init__(
        self,
        margin: float = 0.05,
        swap: bool = False,
        smooth_loss: bool = False,
        triplets_per_anchor: int | str = "all",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        drawn = isinstance(triplets_per_anchor, int) and triplets_per_anchor > 0
        must(drawn or triplets_per_anchor == "all", "triplets_per_anchor must be 'all' or a number > 0",
             got=triplets_per_anchor)  # fmt: skip
        self.margin = margin
        self.swap = swap
        self.smooth_loss = smooth_loss
        self.triplets_per_anchor = triplets_per_anchor

    def of_labels(self, embeddings: Tensor, *compared: Any) -> Losses | None:
        """`labelled_triplet` of all triplets, where distance, reducer and margin are among its own."""
        plain = self.distance.plain()
        other = self.swap or self.smooth_loss or self.triplets_per_anchor != "all" or self.margin < 0
        if plain is None or self.word is None or other:
            return None
        total = labelled_triplet(
            embeddings, mining="all", margin=self.margin, reduction=self.word, **plain._asdict(),
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
        """The losses of listed triplets."""
        a, p, n = to_triplets(indices_tuple, labels, ref_labels, self.triplets_per_anchor)
        if len(a) == 0:
            return self.zero_losses()
        near, far = (self.distance.of_pairs(embeddings, ref_emb, a, other) for other in (p, n))
        if self.swap:
            far = self.distance.smallest_dist(far, self.distance.of_pairs(ref_emb, ref_emb, p, n))
        over = self.distance.margin(near, far) + self.margin
        # Beyond its threshold softplus is taken as the identity: 40 leaves no digit of float64 behind.
        losses = softplus(over, threshold=40) if self.smooth_loss else over.relu()
        return {"loss": {"losses": losses, "indices": (a, p, n), "reduction_type": "triplet"}}

    def get_default_reducer(self) -> BaseReducer:
        """The mean over losses above 0."""
        return AvgNonZeroReducer()
