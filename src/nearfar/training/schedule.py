"""How the learning rate moves: a linear rise, then half a cosine down, by the share of the run that is done."""

import math

from torch.optim import Optimizer

FLOOR = 1e-3
"""The rate never falls below this share of its peak: the first and the last step move the weights too."""


def learning_rate(progress: float, peak: float, warmup: float) -> float:
    """The rate where `progress` in [0, 1] of the run is done and the rise takes its first `warmup`, in [0, 1).

    rise: peak * progress / warmup; fall: peak * (1 + cos(pi * (progress - warmup) / (1 - warmup))) / 2
    (Loshchilov and Hutter, "SGDR", 2017, eq. 5); never below peak / 1000.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return peak * max(progress / warmup, FLOOR)
    falling = (progress - warmup) / (1 - warmup)
    return peak * max((1 + math.cos(math.pi * falling)) / 2, FLOOR)


def set_lr(optimizer: Optimizer, lr: float, progress: float) -> None:
    """Give every group its share of the rate, but for fixed ones, and freeze those whose time has not come."""
    for group in optimizer.param_groups:
        if not group.get("fixed_lr", False):
            group["lr"] = group.get("rate", 1.0) * lr
        group["frozen"] = progress < group.get("frozen_until", 0.0)
