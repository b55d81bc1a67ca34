"""A computation in blocks of rows, made again in the backward pass: what it holds meanwhile is its inputs."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_ENTRIES = 2**20  # of a block: its temporaries stay within a few megabytes


def blockwise(function: Callable[..., Tensor], *tensors: Tensor, width: int, whole: tuple[Tensor, ...] = ()) -> Tensor:
    """`function(*blocks, *whole)` of blocks of rows of `tensors`, end to end: [N, ...] each -> [N, ...].

    width: how many numbers one row takes in `function`, which sets how many rows are a block. `whole` are tensors that
    every block sees. Gradients reach all of them, of any order; `function` must draw nothing random.
    """
    rows = max(1, _ENTRIES // max(1, width))
    if len(tensors[0]) <= rows:
        return function(*tensors, *whole)
    # split, and not slices: one backward node that puts the gradients of all blocks end to end.
    blocks = zip(*(torch.split(t, rows) for t in tensors), strict=True)
    return torch.cat([_recomputed(function, *block, *whole) for block in blocks])


def _recomputed(function: Callable[..., Tensor], *args: Tensor) -> Tensor:
    out: Tensor = checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)
    return out
