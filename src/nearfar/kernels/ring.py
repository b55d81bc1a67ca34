"""Columns that lie on all ranks: each rank's block of them goes round, so that no rank ever holds all.

In a round every rank works on one block after the other, its own first, and passes each on to the next rank while it
works. Another round makes the gradient: a block meets the rows of all ranks once more, and what they add to its
gradient travels behind it until it is home. A rank holds two blocks of the longest rank's length and, on the way back,
two gradients, whatever the number of ranks.

Sources: passing blocks (ring attention, Liu et al., 2310.01889), for contrastive losses Inf-CL (Cheng et al.,
2410.17243). These rounds run inside autograd: the graphs of all ranks must be alike.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

Score = Callable[..., Tensor]


@dataclass(frozen=True)
class Ring:
    """A batch of which rank r holds `counts[r]` samples, those of rank 0 first; this is number `rank`.

    All ranks call `ready` before a round: it raises on all where one of them will not take part.
    """

    counts: tuple[int, ...]
    rank: int
    ready: Callable[[], None] = lambda: None

    @property
    def samples(self) -> int:
        """All samples of the batch."""
        return sum(self.counts)

    @property
    def own(self) -> slice:
        """This rank's among all samples."""
        return self.of(self.rank)

    def of(self, rank: int) -> slice:
        """Those of a rank among all samples."""
        start = sum(self.counts[:rank])
        return slice(start, start + self.counts[rank])

    def times(self, rows: int) -> "Ring":
        """The same ring where each sample has so many rows."""
        return replace(self, counts=tuple(rows * count for count in self.counts))

    def round(self, own: Tensor, work: Callable[[slice, Tensor], Tensor | None], *, home: bool) -> Tensor | None:
        """Call `work(at, block)` on every rank's rows [C, D], `at` being their place among all, `own` first.

        With `home`, what work makes of a block [C, D] (None is zero) is summed over all ranks, and that of `own` comes
        back. An error of work is raised when the round is over: the other ranks wait for what this one passes on.
        """
        block = own.new_zeros(max(self.counts), *own.shape[1:])
        block[: len(own)] = own
        blocks, sums = _Passing(self, block), _Passing(self, torch.zeros_like(block)) if home else None
        self.ready()
        error: Exception | None = None
        world = len(self.counts)
        for hop in range(world):
            source = (self.rank - hop) % world
            last = hop + 1 == world
            if not last:
                blocks.send()
            if error is None:
                try:
                    made = work(self.of(source), blocks.held[: self.counts[source]])
                except (RuntimeError, MemoryError) as failure:
                    error, made = failure, None
            if sums is not None:
                if hop:
                    sums.receive()
                if made is not None:
                    sums.held[: len(made)] += made
                sums.send()
            if not last:
                blocks.receive()
        if sums is not None:
            sums.receive()
        if error is not None:
            raise error
        return None if sums is None else sums.held[: len(own)]


class _Passing:
    """A tensor on its way: what is `held` goes to the next rank, and what the rank before holds takes its place."""

    def __init__(self, ring: Ring, held: Tensor) -> None:
        world = len(ring.counts)
        self._after, self._before = (ring.rank + 1) % world, (ring.rank - 1) % world
        self.held, self._coming = held, torch.empty_like(held)
        self._works: list[dist.Work] = []

    def send(self) -> None:
        """Begin; until it is received, what is held may be read alone."""
        self._works = dist.batch_isend_irecv(
            [
                dist.P2POp(dist.isend, self.held, self._after),
                dist.P2POp(dist.irecv, self._coming, self._before),
            ]
        )

    def receive(self) -> None:
        """Wait for it."""
        for work in self._works:
            work.wait()
        self.held, self._coming = self._coming, self.held


def over_ring(
    ring: Ring, score: Score, rows: Tensor, columns: Tensor, *parameters: Tensor, logarithms: bool = False
) -> Tensor:
    """Sum over all ranks' columns of `score(rows, block, at, *parameters)`, for each own row: [M, D], [C, D] -> [M].

    block is one rank's columns, `at` their place among all N; columns are this rank's. score is differentiable in rows,
    block and parameters. With `logarithms`, scores are logarithms of what is summed, and so is the result. All ranks
    call it together, and so they do the backward pass, which gives the gradient of the sum of all ranks' losses.
    """
    if len(ring.counts) == 1:
        return score(rows, columns, slice(0, len(columns)), *parameters)
    out: Tensor = _OverRing.apply(ring, score, logarithms, rows, columns, *parameters)
    return out


class _OverRing(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, ring: Ring, score: Score, logarithms: bool, rows: Tensor, columns: Tensor, *parameters: Tensor
    ) -> Tensor:
        total = rows.new_full((len(rows),), -torch.inf if logarithms else 0.0)

        def work(at: slice, block: Tensor) -> None:
            if len(rows) and len(block):
                some = score(rows, block, at, *parameters)
                total.copy_(torch.logaddexp(total, some) if logarithms else total + some)

        ring.round(columns, work, home=False)
        ctx.save_for_backward(rows, columns, total, *parameters)
        ctx.rule = (ring, score, logarithms)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        ring, score, logarithms = ctx.rule
        rows, columns, total, *parameters = ctx.saved_tensors
        needs_rows, needs_columns, *needs_more = ctx.needs_input_grad[3:]
        needs = [needs_rows, *needs_more]
        leaves = [x.detach().requires_grad_(need) for x, need in zip((rows, *parameters), needs, strict=True)]
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        grads = [torch.zeros_like(leaf) for leaf in wanted]

        def work(at: slice, block: Tensor) -> Tensor | None:
            if not len(rows) or not len(block):
                return None
            block = block.detach().requires_grad_(needs_columns)
            with torch.enable_grad():
                some = score(leaves[0], block, at, *leaves[1:])
            weights = grad
            if logarithms:  # the share of this block in the sum; of none where no pair counts
                weights = grad * (some.detach() - total).exp().masked_fill(total == -torch.inf, 0.0)
            found = torch.autograd.grad(some, [*wanted, block] if needs_columns else wanted, weights)
            for total_grad, part in zip(grads, found, strict=False):
                total_grad += part
            return found[-1] if needs_columns else None

        home = ring.round(columns, work, home=needs_columns)
        made = iter(grads)
        grad_rows, *more = (next(made) if leaf.requires_grad else None for leaf in leaves)
        return None, None, None, grad_rows, home, *more
