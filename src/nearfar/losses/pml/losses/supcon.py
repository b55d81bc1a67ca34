"""SupCon: the positives of an anchor against all its pairs, the log inside the mean (L_out)."""

from typing import Any

import torch
from torch import Tensor

from nearfar.errors import must
from nearfar.kernels import Pairs, row_lse, self_lse
from nearfar.losses.core.labelled import compare
from nearfar.losses.core.positives import by_class
from nearfar.losses.core.tuples import anchor_lse
from nearfar.losses.core.unit import unit
from nearfar.losses.pml.distances import COSINE, BaseDistance, CosineSimilarity
from nearfar.losses.pml.losses.base import BaseMetricLossFunction, by_labels, element_entry
from nearfar.losses.pml.reducers import AvgNonZeroReducer, BaseReducer, Losses
from nearfar.losses.pml.tuples import Indices, distinct_pairs


class SupConLoss(BaseMetricLossFunction):
    """L_out of Khosla et al. 2020 (2004.11362); a distance counts as a negative similarity.

    An anchor without a positive has loss 0; where the batch has no negative at all the loss is 0.
    """

    def __init__(self, temperature: float = 0.1, **kwargs: Any):
        super().__init__(**kwargs)
        must(temperature > 0, "temperature must be > 0", got=temperature)
        self.temperature = temperature

    def of_labels(self, embeddings: Tensor, *compared: Any) -> Losses | None:
        """The losses of all anchors, in the parts that `sup_con` is made of, which take references."""
        if self.distance.plain() != COSINE:
            return None
        found = compare(embeddings, rows=None, prepare=unit, **by_labels(embeddings, *compared))
        positives, negatives = found.counts()
        if not (positives.any() and negatives.any()):
            return self.zero_losses()
        scale = 1 / self.temperature
        with torch.autocast(embeddings.device.type, enabled=False):
            if found.anchors is found.columns:
                lse = self_lse(found.anchors, scale=scale)
            else:
                lse = row_lse(found.anchors, found.columns, scale=scale, pairs=Pairs(found.offset))
            same = found.pairs("same")
            losses = by_class(found.anchors, found.columns, scale, lse, same, variant="out", implementation="auto")
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
        if len(p) == 0 or len(n) == 0:
            return self.zero_losses()
        anchors = torch.cat([a1, a2])
        similarities = self.distance.margin(0, self.distance.of_pairs(embeddings, ref_emb, anchors, torch.cat([p, n])))
        logits = similarities / self.temperature
        lse = anchor_lse(logits, anchors, len(embeddings))
        surprise = lse[a1] - logits[: len(p)]
        zero = logits.new_zeros(len(embeddings))
        positives = zero.index_add(0, a1, torch.ones_like(surprise)).clamp(min=1)
        return {"loss": element_entry(zero.index_add(0, a1, surprise) / positives)}

    def get_default_reducer(self) -> BaseReducer:
        """The mean over losses above 0."""
        return AvgNonZeroReducer()

    def get_default_distance(self) -> BaseDistance:
        """The cosine."""
        return CosineSimilarity()
