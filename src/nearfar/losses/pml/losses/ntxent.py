"""NT-Xent with labels: each positive alone against all negatives of its anchor."""

from typing import Any

from torch import Tensor
from torch.nn.functional import softplus

from nearfar.errors import must
from nearfar.losses.core.tuples import anchor_lse
from nearfar.losses.labelled_nt_xent import labelled_nt_xent
from nearfar.losses.pml.distances import COSINE, BaseDistance, CosineSimilarity
from nearfar.losses.pml.losses.base import BaseMetricLossFunction, by_labels, element_entry, reduced_entry
from nearfar.losses.pml.reducers import Losses, PerAnchorReducer
from nearfar.losses.pml.tuples import Indices, to_pairs


class NTXentLoss(BaseMetricLossFunction):
    """`log(1 + sum_n exp((s_an - s_ap) / temperature))` of each positive pair, n the negatives of its anchor.

    Other positives of the anchor are in no denominator; a distance counts as a negative similarity.
    """

    def __init__(self, temperature: float = 0.07, **kwargs: Any):
        super().__init__(**kwargs)
        must(temperature > 0, "temperature must be > 0", got=temperature)
        self.temperature = temperature

    def of_labels(self, embeddings: Tensor, *compared: Any) -> Losses | None:
        """`labelled_nt_xent`, where the distance is the cosine and the reducer one of its own."""
        per_anchor = type(self.reducer) is PerAnchorReducer and self.reducer.aggregation_func is None
        if self.distance.plain() != COSINE or not (per_anchor or self.word in ("mean", "sum")):
            return None
        losses = labelled_nt_xent(
            embeddings,
            temperature=self.temperature,
            average="anchors" if per_anchor else "pairs",
            reduction="none" if per_anchor else str(self.word),
            **by_labels(embeddings, *compared),
        )
        return {"loss": element_entry(losses) if per_anchor else reduced_entry(losses)}

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
