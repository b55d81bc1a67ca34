"""Solarisation: bright values are inverted."""

import torch
from torch import Tensor


def solarised(views: Tensor, low: Tensor, high: Tensor, threshold: float) -> Tensor:
    """Views `[b, c, h, w]` whose channels range from `low` [c] to `high` [c], inverted from `threshold` of it upwards.

    With 0 and 1 this is torchvision's `solarize`; the views may be normalised.
    """
    low, high = low[:, None, None], high[:, None, None]
    return torch.where(views >= low + threshold * (high - low), low + high - views, views)
