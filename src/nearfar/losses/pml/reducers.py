"""From the losses of anchors, pairs or triplets to one number.

A loss hands over `{name: {"losses": [K], "indices": ..., "reduction_type": ...}}`. The type is "element" (indices: the
anchors [K]), "pos_pair" or "neg_pair" (anchors and others), "triplet" (anchors, positives, negatives), or
"already_reduced" (losses is the number itself, or 0 where there was nothing to compare).
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.errors import ConfigError, must
from nearfar.losses.pml.distances import refuse_stats

Losses = dict[str, dict[str, Any]]


class BaseReducer(nn.Module):
    """Reduces one entry of losses; pairs and triplets are reduced as elements, each by its anchor."""

    def __init__(self, collect_stats: bool | None = None):
        super().__init__()
        refuse_stats(collect_stats)

    def forward(self, loss_dict: Losses, embeddings: Tensor, labels: Tensor | None) -> Any:
        """The number for the one entry of `loss_dict`."""
        must(
            len(loss_dict) == 1, "A reducer takes one kind of losses; MultipleReducers takes more", got=list(loss_dict)
        )
        (info,) = loss_dict.values()
        losses, kind = info["losses"], info["reduction_type"]
        if not isinstance(losses, Tensor) and losses == 0:
            return self.zero_loss(embeddings)
        if kind == "already_reduced":
            return losses
        reduce = getattr(self, f"{kind}_reduction")
        return reduce(losses, info["indices"], embeddings, labels, **self.options(info))

    def options(self, info: dict[str, Any]) -> dict[str, Any]:
        """What the reduction takes from the entry besides losses and indices."""
        return {}

    def zero_loss(self, embeddings: Tensor) -> Tensor:
        """0 with gradient 0, where nothing counts."""
        return embeddings[:0].sum()

    def element_reduction(self, losses: Tensor, indices: Any, embeddings: Tensor, labels: Tensor | None) -> Tensor:
        """The number for losses [K] of the anchors `indices` [K]."""
        raise NotImplementedError

    def pos_pair_reduction(self, losses: Tensor, indices: Any, *args: Any, **options: Any) -> Tensor:
        """The number for losses [K] of pairs (anchors, positives)."""
        return self.element_reduction(losses, indices[0], *args, **options)

    def neg_pair_reduction(self, losses: Tensor, indices: Any, *args: Any, **options: Any) -> Tensor:
        """The number for losses [K] of pairs (anchors, negatives)."""
        return self.element_reduction(losses, indices[0], *args, **options)

    def triplet_reduction(self, losses: Tensor, indices: Any, *args: Any, **options: Any) -> Tensor:
        """The number for losses [K] of triplets (anchors, positives, negatives)."""
        return self.element_reduction(losses, indices[0], *args, **options)


class MeanReducer(BaseReducer):
    """The mean of all losses."""

    def element_reduction(self, losses: Tensor, *_: Any) -> Tensor:
        """[K] -> []."""
        return losses.mean()


class SumReducer(BaseReducer):
    """The sum of all losses."""

    def element_reduction(self, losses: Tensor, *_: Any) -> Tensor:
        """[K] -> []."""
        return losses.sum()


class ThresholdReducer(BaseReducer):
    """The mean of the losses above `low` and below `high`; 0 where there is none."""

    def __init__(self, low: float | None = None, high: float | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        must(low is not None or high is not None, "ThresholdReducer needs low, high or both", got=(low, high))
        self.low = low
        self.high = high

    def element_reduction(self, losses: Tensor, indices: Any, embeddings: Tensor, *_: Any) -> Tensor:
        """[K] -> []."""
        kept = torch.ones_like(losses, dtype=torch.bool)
        if self.low is not None:
            kept &= ~(losses <= self.low)  # so that nan is kept
        if self.high is not None:
            kept &= ~(losses >= self.high)
        losses = losses[kept]
        return losses.mean() if len(losses) else self.zero_loss(embeddings)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"low={self.low}, high={self.high}"


class AvgNonZeroReducer(ThresholdReducer):
    """The mean of the losses above 0."""

    def __init__(self, **kwargs: Any):
        super().__init__(low=0, **kwargs)


class ClassWeightedReducer(BaseReducer):
    """The mean of losses times the weight of their anchor's class; weights [C], indexed by label."""

    def __init__(self, weights: Tensor, **kwargs: Any):
        super().__init__(**kwargs)
        self.weights = weights

    def element_reduction(self, losses: Tensor, indices: Any, embeddings: Tensor, labels: Tensor | None) -> Tensor:
        """[K] -> []."""
        if labels is None:
            raise ConfigError("ClassWeightedReducer needs labels: pass them to the loss.")
        return (losses * self.weights.to(losses)[labels[indices]]).mean()


class DivisorReducer(BaseReducer):
    """The sum over a divisor that the loss names, as ProxyAnchorLoss does."""

    def options(self, info: dict[str, Any]) -> dict[str, Any]:
        """The divisor."""
        if "divisor" not in info:
            raise ConfigError("DivisorReducer needs a loss that names its divisor, as ProxyAnchorLoss does.")
        return {"divisor": info["divisor"]}

    def element_reduction(
        self, losses: Tensor, indices: Any, embeddings: Tensor, labels: Tensor | None, divisor: float = 1
    ) -> Tensor:
        """[K] -> []."""
        return losses.sum() / divisor if divisor != 0 else self.zero_loss(embeddings)


class DoNothingReducer(BaseReducer):
    """The losses as the loss hands them over."""

    def forward(self, loss_dict: Losses, embeddings: Tensor, labels: Tensor | None) -> Losses:
        """`loss_dict` itself."""
        return loss_dict


class PerAnchorReducer(BaseReducer):
    """The mean over the pairs of each anchor, 0 for an anchor without; then `reducer` (the mean) over all anchors.

    A pair that is listed twice counts once. `aggregation_func(x, counts)` may take the place of the mean: x [N, M]
    holds the losses of anchors and others and 0 elsewhere, counts [N] how many pairs each anchor has.
    """

    def __init__(
        self,
        reducer: BaseReducer | None = None,
        aggregation_func: Callable[[Tensor, Tensor], Tensor] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.reducer = MeanReducer() if reducer is None else reducer
        self.aggregation_func = aggregation_func

    def element_reduction(self, losses: Tensor, indices: Any, embeddings: Tensor, labels: Tensor | None) -> Tensor:
        """[K] -> []."""
        entry = {"losses": losses, "indices": indices, "reduction_type": "element"}
        reduced: Tensor = self.reducer({"loss": entry}, embeddings, labels)
        return reduced

    def pos_pair_reduction(self, losses: Tensor, indices: Any, *args: Any, **options: Any) -> Tensor:
        """The number for losses [K] of pairs (anchors, positives)."""
        return self._by_anchor(losses, indices, *args)

    def neg_pair_reduction(self, losses: Tensor, indices: Any, *args: Any, **options: Any) -> Tensor:
        """The number for losses [K] of pairs (anchors, negatives)."""
        return self._by_anchor(losses, indices, *args)

    def triplet_reduction(self, losses: Tensor, indices: Any, *args: Any, **options: Any) -> Tensor:
        """Refused: raises ConfigError."""
        raise ConfigError("PerAnchorReducer reduces pairs, not triplets: choose another reducer for this loss.")

    def _by_anchor(self, losses: Tensor, indices: Any, embeddings: Tensor, labels: Tensor | None) -> Tensor:
        n = len(embeddings)
        anchors, others, losses = _listed_once(indices[0], indices[1], losses)
        counts = losses.new_zeros(n).index_add(0, anchors, torch.ones_like(losses))
        if self.aggregation_func is None:
            per_anchor = losses.new_zeros(n).index_add(0, anchors, losses) / counts.clamp(min=1)
        else:
            matrix = losses.new_zeros(n, int(others.max()) + 1 if len(others) else 1)
            per_anchor = self.aggregation_func(matrix.index_put((anchors, others), losses), counts)
        return self.element_reduction(per_anchor, torch.arange(n, device=losses.device), embeddings, labels)


class MultipleReducers(BaseReducer):
    """The sum of the entries of a loss, each reduced by the reducer of its name, or by `default_reducer` (the mean)."""

    def __init__(self, reducers: Mapping[str, BaseReducer], default_reducer: BaseReducer | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.reducers = nn.ModuleDict(reducers)
        self.default_reducer = MeanReducer() if default_reducer is None else default_reducer

    def forward(self, loss_dict: Losses, embeddings: Tensor, labels: Tensor | None) -> Tensor:
        """The sum over all entries of `loss_dict`."""
        total, known = self.zero_loss(embeddings), dict(self.reducers.items())
        for name, info in loss_dict.items():
            reducer = known.get(name, self.default_reducer)
            total = total + reducer({name: info}, embeddings, labels)
        return total


# The reductions of `nearfar.losses` that do the same; of a subclass nobody can know.
_WORDS: dict[type[BaseReducer], str] = {MeanReducer: "mean", SumReducer: "sum", AvgNonZeroReducer: "mean_active"}


def reduction_word(reducer: BaseReducer) -> str | None:
    """The reduction of `nearfar.losses` that does what the reducer does, if there is one."""
    return _WORDS.get(type(reducer))


def _listed_once(anchors: Tensor, others: Tensor, losses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each pair once, with the first of its losses: they are all the same."""
    if len(losses) == 0:
        return anchors, others, losses
    keys = anchors * (int(others.max()) + 1) + others
    keys, order = keys.sort(stable=True)
    first = torch.cat([keys.new_ones(1, dtype=torch.bool), keys[1:] != keys[:-1]])
    kept = order[first]
    return anchors[kept], others[kept], losses[kept]
