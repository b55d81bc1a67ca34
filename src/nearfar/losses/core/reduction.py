"""From a loss for each anchor, pair or tuple to the number that is asked for."""

import torch
from torch import Tensor


def reduce(losses: Tensor, reduction: str, count: int, active: int | Tensor | None = None) -> Tensor:
    """Sum over `count` ("mean"), sum over `active` ("mean_active"), the sum, or the losses as they are.

    `count` is the number of anchors of the whole batch, also where `losses` holds only a part of them: the parts of a
    mean then sum to the whole mean. `active` likewise is the number, in the whole batch, of those that count (a number
    or a tensor []); the losses of the others must be 0. Without it those of `losses` that are not 0 are counted, which
    is right only where `losses` holds the whole batch. Where none counts the mean over them is 0, with gradient 0.
    """
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "mean":
        return total / count
    if reduction == "mean_active":
        counted = torch.count_nonzero(losses.detach()) if active is None else torch.as_tensor(active)
        return total / counted.clamp(min=1).to(total.device)
    return total
