"""From a loss for each anchor to the number that is asked for."""

from torch import Tensor

from nearfar.errors import must

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(reduction: str) -> None:
    """Raise ConfigError for a word that is not one of "mean", "sum", "none"."""
    must(reduction in REDUCTIONS, f"reduction must be one of {', '.join(map(repr, REDUCTIONS))}", got=reduction)


def reduce(losses: Tensor, reduction: str, count: int) -> Tensor:
    """Sum over `count` ("mean"), the sum, or the losses as they are.

    `count` is the number of anchors of the whole batch, also where `losses` holds only a part of them: the parts of a
    mean then sum to the whole mean.
    """
    if reduction == "none":
        return losses
    total = losses.sum()
    return total / count if reduction == "mean" else total
