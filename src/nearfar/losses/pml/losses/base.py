"""What all losses share: the call, the reducer, the distance, and the two ways to compare."""

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any, ClassVar

import torch
from torch import Tensor

from nearfar.errors import DataError
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import if_finite
from nearfar.losses.pml.distances import BaseDistance, LpDistance, must_be_ours, refuse_stats
from nearfar.losses.pml.reducers import (
    BaseReducer,
    DoNothingReducer,
    Losses,
    MeanReducer,
    MultipleReducers,
    reduction_word,
)
from nearfar.losses.pml.tuples import Compared, Indices, checked, checked_indices

Regularizer = Callable[[Tensor], Tensor]


class BaseMetricLossFunction(LossModule):
    """A loss of embeddings and labels: `loss(embeddings, labels, indices_tuple=None, ref_emb=None, ref_labels=None)`.

    embeddings [M, D] are the anchors, compared with each other or with ref_emb [N, D], either by labels or as
    indices_tuple says: (anchors, positives, negatives) or (anchors, positives, anchors, negatives), rows of embeddings
    first and of ref_emb after. Where labels and ref_labels are one tensor, row i of both is one sample, and no pair.

    `embedding_regularizer` is any function of the embeddings that gives a number, added `embedding_reg_weight` times.
    A subclass defines `compute_loss`.
    """

    takes_references: ClassVar[bool] = True  # whether ref_emb may be given
    takes_labels: ClassVar[bool] = True
    default_reducer: ClassVar[Callable[[], BaseReducer]] = MeanReducer
    default_distance: ClassVar[Callable[[], BaseDistance]] = LpDistance
    _: KW_ONLY
    reducer: BaseReducer = None  # type: ignore[assignment]  # None takes the default
    distance: BaseDistance = None  # type: ignore[assignment]
    embedding_regularizer: Regularizer | None = None
    embedding_reg_weight: float = 1
    collect_stats: bool | None = None

    def __post_init__(self) -> None:
        """Check the settings, and take the default distance and reducer where none is given."""
        self.check_settings()
        refuse_stats(self.collect_stats)
        self.distance = self.get_default_distance() if self.distance is None else self.distance
        must_be_ours(self.distance, BaseDistance)
        self.reducer = self.get_default_reducer() if self.reducer is None else self.reducer
        must_be_ours(self.reducer, BaseReducer)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: Indices | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Any:
        """The loss, reduced by `reducer`."""
        if not self.takes_references and not (ref_emb is None or ref_emb is embeddings):
            raise DataError(f"{type(self).__name__} takes no ref_emb.")
        labels, ref_emb, ref_labels = checked(embeddings, labels, ref_emb, ref_labels)
        if indices_tuple is not None:
            indices_tuple = checked_indices(indices_tuple, len(embeddings), len(ref_emb), embeddings.device)
        if labels is not None and (len(embeddings) == 0 or len(ref_emb) == 0):
            return self.reduced(self.zero_losses(), embeddings, labels)
        losses = self.compute_loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        value = self.reduced(losses, embeddings, labels)
        return if_finite(value, embeddings, ref_emb) if isinstance(value, Tensor) else value

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: Indices | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> Losses:
        """Losses as reducers take them."""
        raise NotImplementedError

    def reduced(self, losses: Losses, embeddings: Tensor, labels: Tensor | None) -> Any:
        """Each of the losses through the reducer, and the sum of them and of the regularizers."""
        if self.embedding_regularizer is not None:
            term = self.embedding_regularizer(embeddings) * self.embedding_reg_weight
            losses["embedding_reg_loss"] = reduced_entry(term)
        if len(losses) == 1 or isinstance(self.reducer, (MultipleReducers, DoNothingReducer)):
            return self.reducer(losses, embeddings, labels)
        return sum(self.reducer({name: entry}, embeddings, labels) for name, entry in losses.items())

    @property
    def word(self) -> str | None:
        """The reduction of `nearfar.losses` that does what the reducer does, if there is one."""
        return reduction_word(self.reducer)

    def get_default_reducer(self) -> BaseReducer:
        """The reducer where none is given."""
        return type(self).default_reducer()

    def get_default_distance(self) -> BaseDistance:
        """The distance where none is given."""
        return type(self).default_distance()

    def zero_losses(self) -> Losses:
        """Losses where there is nothing to compare."""
        return {"loss": reduced_entry(0)}


class TupleLoss(BaseMetricLossFunction):
    """A loss of pairs or triplets: a function of `nearfar.losses` for all of them, another way for those listed."""

    def of_labels(self, found: Compared) -> Losses | None:
        """The losses of all pairs, nothing listed, in memory linear in the batch; None where settings forbid it."""
        return None

    def of_tuples(self, found: Compared) -> Losses:
        """The losses of listed pairs or triplets, or of all listed here."""
        raise NotImplementedError

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: Indices | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> Losses:
        """Losses as reducers take them."""
        offset = 0 if ref_labels is labels else None
        found = Compared(embeddings, labels, indices_tuple, ref_emb, ref_labels, offset)
        all_pairs = indices_tuple is None and labels is not None and ref_labels is not None
        losses = self.of_labels(found) if all_pairs else None
        return self.of_tuples(found) if losses is None else losses


def reduced_entry(losses: Any) -> dict[str, Any]:
    """An entry that no reducer changes."""
    return {"losses": losses, "indices": None, "reduction_type": "already_reduced"}


def element_entry(losses: Tensor, indices: Tensor | None = None, **more: Any) -> dict[str, Any]:
    """An entry of one loss for each anchor [M], or for those of the indices [K]."""
    indices = torch.arange(len(losses), device=losses.device) if indices is None else indices
    return {"losses": losses, "indices": indices, "reduction_type": "element", **more}
