"""Embeddings of all processes, for losses that were asked to compare with them (`gather_distributed=True`).

Gradients come home summed over the processes, so that the mean over processes, which DistributedDataParallel takes of
gradients, is that of the loss of the whole batch. All processes call the loss and its backward pass together.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many processes there are; 1 where torch.distributed is not in use."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gathered(z: Tensor) -> tuple[Tensor, slice]:
    """The rows of all processes [N, ...], those of process 0 first, and the place of this one's; any number each."""
    counts = [torch.zeros((), dtype=torch.long, device=z.device) for _ in range(processes())]
    dist.all_gather(counts, torch.tensor(len(z), device=z.device))
    sizes = tuple(int(count) for count in counts)
    start = sum(sizes[: dist.get_rank()])
    every: Tensor = _Gather.apply(z, sizes)
    return every, slice(start, start + len(z))


def of_all_processes(
    loss: Callable[..., Tensor], views: Sequence[Tensor], *, ids: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """This process's part of the loss of all samples, of which the mean over processes is the loss.

    `loss(*views, ids=ids, rows=rows)` gives the share of `rows`; with reduction "none" it is given as it is.
    """
    pieces = [gathered(z) for z in views]
    numbers = None if ids is None else gathered(ids)[0]
    share = loss(*(z for z, _ in pieces), ids=numbers, rows=pieces[0][1])
    return share if reduction == "none" else share * processes()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, sizes: tuple[int, ...]) -> Tensor:
        ctx.sizes = sizes
        padded = z.new_zeros(max(sizes), *z.shape[1:])
        padded[: len(z)] = z
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return torch.split(total, ctx.sizes)[dist.get_rank()], None
