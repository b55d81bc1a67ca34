"""NT-Xent with labels: each positive alone against all negatives of its anchor."""

from typing import Any

from torch import Tensor
from torch.nn.functional import softplus

from nearfar.errors import must
from nearfar.losses.pml.distances import BaseDistance, CosineSimilarity
from nearfar.losses.pml.losses.base import BaseMetricLossFunction
from nearfar.losses.pml.reducers import Losses
from nearfar.losses.pml.tuples import Indices, to_pairs
from nearfar.losses.tuples import anchor_lse


class NTXentLoss(BaseMetricLossFunction):
    """`log(1 + sum_n exp((s_an - s_ap) / temperature))` of each positive pair, n the negatives of its anchor.

    Other positives of the anchor are in no denominator; a distance counts as a negative similarity.
    """

    def __init__(self, temperature: float = 0.07, **kwargs: Any):
        super().__init__(**kwargs)
        must(temperature > 0, "temperature must be > 0", got=temperature)
        self.temperature = temperature

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: Indices | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> Losses:
        """The losses of listed positive pairs."""
        a1, p, a2, n = to_pairs(indices_tuple, labels, ref_labels)
        if len(a1) == 0:
            return self.zero_losses()
        near, far = (
            self.distance.margin(0, self.distance.of_pairs(embeddings, ref_emb, *pair)) / self.temperature
            for pair in ((a1, p), (a2, n))
        )
        losses = softplus(anchor_lse(far, a2, len(embeddings))[a1] - near, threshold=40)
        return {"loss": {"losses": losses, "indices": (a1, p), "reduction_type": "pos_pair"}}

    def get_default_distance(self) -> BaseDistance:
        """The cosine."""
        return CosineSimilarity()
