"""What all losses share: the call, the reducer, the distance, and the two ways to compare."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.errors import DataError
from nearfar.losses.pml.distances import BaseDistance, LpDistance, must_be_ours, refuse_stats
from nearfar.losses.pml.reducers import (
    BaseReducer,
    DoNothingReducer,
    Losses,
    MeanReducer,
    MultipleReducers,
    reduction_word,
)
from nearfar.losses.pml.tuples import Indices, checked, checked_indices, weights

Regularizer = Callable[[Tensor], Tensor]


class BaseMetricLossFunction(nn.Module):
    """A loss of embeddings and labels: `loss(embeddings, labels, indices_tuple=None, ref_emb=None, ref_labels=None)`.

    embeddings [M, D] are the anchors, compared with each other or with ref_emb [N, D], either by labels or as
    indices_tuple says: (anchors, positives, negatives) or (anchors, positives, anchors, negatives), rows of embeddings
    first and of ref_emb after. Where labels and ref_labels are one tensor, row i of both is one sample, and no pair.

    `embedding_regularizer` is any function of the embeddings that gives a number, added `embedding_reg_weight` times.

    A subclass defines `compute_loss`, which lists what it compares, and `of_labels` where a loss of `nearfar.losses`
    gives the same without listing, in memory linear in the batch.
    """

    takes_references = True  # whether ref_emb may be given
    takes_labels = True

    def __init__(
        self,
        reducer: BaseReducer | None = None,
        distance: BaseDistance | None = None,
        embedding_regularizer: Regularizer | None = None,
        embedding_reg_weight: float = 1,
        collect_stats: bool | None = None,
    ):
        super().__init__()
        refuse_stats(collect_stats)
        self.distance = self.get_default_distance() if distance is None else distance
        must_be_ours(self.distance, BaseDistance)
        self.embedding_regularizer = embedding_regularizer
        self.embedding_reg_weight = embedding_reg_weight
        self.reducer = self.get_default_reducer() if reducer is None else reducer
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
        losses = None
        if labels is not None and (len(embeddings) == 0 or len(ref_emb) == 0):
            losses = self.zero_losses()
        elif indices_tuple is None and labels is not None and ref_labels is not None:
            offset = 0 if ref_labels is labels else None
            losses = self.of_labels(embeddings, labels, ref_emb, ref_labels, offset)
        if losses is None:
            losses = self.compute_loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        return self.reduced(losses, embeddings, labels)

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

    def of_labels(
        self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor, offset: int | None
    ) -> Losses | None:
        """The losses of all pairs, nothing listed; None where the settings do not allow it.

        With an offset, row offset + i of ref_emb is row i of embeddings, and no pair of it.
        """
        return None

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
        return MeanReducer()

    def get_default_distance(self) -> BaseDistance:
        """The distance where none is given."""
        return LpDistance(p=2)

    def zero_losses(self) -> Losses:
        """Losses where there is nothing to compare."""
        return {"loss": reduced_entry(0)}


class ClassLoss(BaseMetricLossFunction):
    """A loss of embeddings against one learned vector a class, labels 0..C-1.

    Where a miner's tuple is given, the loss of an embedding is weighed by how often it is listed, over the most often
    listed one. `weight_regularizer` is any function of the vectors [C, D] that gives a number, added
    `weight_reg_weight` times; `weight_init_func` fills the parameter in place.
    """

    takes_references = False

    def __init__(
        self,
        weight_regularizer: Regularizer | None = None,
        weight_reg_weight: float = 1,
        weight_init_func: Callable[[Tensor], Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.weight_regularizer = weight_regularizer
        self.weight_reg_weight = weight_reg_weight
        self.weight_init_func = self.get_default_weight_init_func() if weight_init_func is None else weight_init_func

    def vectors(self) -> Tensor:
        """The classes' vectors: [C, D]."""
        raise NotImplementedError

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

    def get_default_weight_init_func(self) -> Callable[[Tensor], Any]:
        """How the vectors start where nothing else is asked for: normally distributed, of variance 1."""
        return nn.init.normal_


def reduced_entry(losses: Any) -> dict[str, Any]:
    """An entry that no reducer changes."""
    return {"losses": losses, "indices": None, "reduction_type": "already_reduced"}


def by_labels(
    embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor, offset: int | None
) -> dict[str, Any]:
    """The arguments of `nearfar.losses` for what is compared."""
    # There -1 is no class; here it is one like any other.
    classes = torch.unique(torch.cat([labels, ref_labels]), return_inverse=True)[1]
    labels, ref_labels = classes.tensor_split([len(labels)])
    if ref_emb is embeddings and offset == 0:
        return {"labels": labels, "reference": None, "reference_labels": None, "offset": None}
    return {"labels": labels, "reference": ref_emb, "reference_labels": ref_labels, "offset": offset}


def element_entry(losses: Tensor, **more: Any) -> dict[str, Any]:
    """An entry of one loss for each anchor [M]."""
    indices = torch.arange(len(losses), device=losses.device)
    return {"losses": losses, "indices": indices, "reduction_type": "element", **more}
