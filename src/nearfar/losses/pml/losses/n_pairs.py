"""N-pairs: the positive of each class must be found among the positives of all classes."""

import torch
from torch import Tensor

from nearfar.losses.n_pair import n_pair
from nearfar.losses.pml.distances import BaseDistance, DotProductSimilarity
from nearfar.losses.pml.losses.base import BaseMetricLossFunction
from nearfar.losses.pml.reducers import Losses
from nearfar.losses.pml.tuples import Indices, both


class NPairsLoss(BaseMetricLossFunction):
    """Cross-entropy of one pair a class, the first listed, against the positives of all: no temperature.

    The default distance normalises; `DotProductSimilarity(normalize_embeddings=False)` is the paper's.
    """

    takes_references = False

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: Indices | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> Losses:
        """The losses of the anchors of the classes that have a pair."""
        labels, _ = both(labels, labels)
        if indices_tuple is None:
            # Sorted by class, a class's first pair is its first two.
            order = labels.argsort(stable=True)
            follows = labels[order[1:]] == labels[order[:-1]]
            a, p = order[:-1][follows], order[1:][follows]
        else:
            a, p, *_ = indices_tuple
        if len(a) == 0:
            return self.zero_losses()
        classes, order = labels[a].sort(stable=True)
        first = order[torch.cat([classes.new_ones(1, dtype=torch.bool), classes[1:] != classes[:-1]])]
        a, p = a[first], p[first]
        if isinstance(self.distance, DotProductSimilarity) and self.distance.power == 1:
            losses = n_pair(*self.distance.prepare(embeddings[a], embeddings[p]), reduction="none")
        else:
            similarities = self.distance.margin(0, self.distance(embeddings[a], embeddings[p]))
            losses = similarities.logsumexp(1) - similarities.diagonal()
        return {"loss": {"losses": losses, "indices": a, "reduction_type": "element"}}

    def get_default_distance(self) -> BaseDistance:
        """The dot product of unit vectors."""
        return DotProductSimilarity()
