"""Sums of softplus over rows of similarities: what a loss of independent yes-or-no questions needs.

Tile by tile as in `tiled.py`: the forward sweep keeps the sums alone, the backward sweep makes every tile again.
"""

import math
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import UnknownName, must
from nearfar.kernels.pairs import ALL_PAIRS, Pairs
from nearfar.kernels.product import product
from nearfar.kernels.range import within_range
from nearfar.kernels.ring import Ring, over_ring
from nearfar.kernels.schedule import Tile
from nearfar.kernels.second import no_second_derivative
from nearfar.kernels.tiled import Buffers, Problem, gradients

_DENSE_ENTRIES = 512 * 512


def row_softplus(
    rows: Tensor,
    columns: Tensor,
    *,
    scale: float | Tensor = 1.0,
    bias: float | Tensor = 0.0,
    pairs: Pairs = ALL_PAIRS,
    implementation: str = "auto",
    ring: Ring | None = None,
) -> Tensor:
    """Sum over the columns j of `log(1 + exp(scale * rows_i . columns_j + bias))`, for each row: [M, D], [N, D] -> [M].

    scale and bias are numbers or tensors []. Pairs that do not count add 0. Computed in float32 (float64 inputs stay
    float64), whatever autocast says. ring: `columns` are those that this rank has of the N, which lie on all its ranks;
    pairs are of N.
    """
    shapes = (tuple(rows.shape), tuple(columns.shape))
    fit = rows.dim() == columns.dim() == 2 and rows.shape[1] == columns.shape[1]
    must(fit, "rows [M, D] and columns [N, D] must be of one width", got=shapes)
    m, n = len(rows), len(columns) if ring is None else ring.samples
    pairs.check(m, n)
    if implementation not in ("auto", "dense", "tiled"):
        raise UnknownName("implementation", implementation, ["auto", "dense", "tiled"])
    dtype = torch.float64 if rows.dtype == columns.dtype == torch.float64 else torch.float32
    with torch.autocast(rows.device.type, enabled=False):
        a, b = rows.to(dtype), columns.to(dtype)
        scale, bias = (torch.as_tensor(x, dtype=dtype, device=a.device) for x in (scale, bias))
        if ring is not None:

            def score(rows: Tensor, block: Tensor, at: slice, scale: Tensor, bias: Tensor) -> Tensor:
                some = pairs.of_columns(at)
                return row_softplus(rows, block, scale=scale, bias=bias, pairs=some, implementation=implementation)

            return over_ring(ring, score, a, b, scale, bias)
        if implementation == "dense" or (implementation == "auto" and m * n <= _DENSE_ENTRIES):
            logits = product(a * scale, b.T) + bias
            pairs.rule_out(logits, slice(0, m), slice(0, n))
            return softplus(logits).sum(1)
        out: Tensor = _RowSoftplus.apply(a, b, scale, bias.expand(n), pairs)
        return out


def softplus(x: Tensor) -> Tensor:
    """`log(1 + exp(x))`, exact for every x; torch's own rounds it to x from 20 on, which float64 can tell apart."""
    out: Tensor = _Softplus.apply(x)
    return out


class _Softplus(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        e = _exp_of_minus_(x.abs())
        return _log1p_(e, torch.empty_like(e)).add_(x.clamp(min=0))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        found: Tensor = grad * x.sigmoid()
        return found


def _exp_of_minus_(x: Tensor) -> Tensor:
    # exp(-x) in place, x >= 0, and 0 where it would fall below the smallest normal number: for such results exp falls
    # back to slow code (measured: 70 times slower).
    tiny = torch.finfo(x.dtype).tiny
    return torch.threshold_(x.neg_().clamp_(min=math.log(tiny) + 0.01).exp_(), 1.02 * tiny, 0.0)


def _log1p_(e: Tensor, room: Tensor) -> Tensor:
    # log(1 + e) in place, e >= 0, to the last digits or so: the logarithm of w, which is 1 + e rounded, and what the
    # rounding took. torch.log1p does the same at a quarter of the speed (measured, on a CPU).
    w = torch.add(e, 1.0, out=room)
    e.sub_(w.sub_(1.0)).div_(w.add_(1.0))
    return e.add_(w.log_())


class _RowSoftplus(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, scale: Tensor, bias: Tensor, pairs: Pairs) -> Tensor:
        problem = Problem.cut(a, b, scale, bias, pairs, None)
        bounded = within_range(a, b, scale, bias)
        sums = a.new_zeros(len(a))

        def work(tile: Tile, buffers: Buffers) -> None:
            entries = buffers.entries(tile, bounded)
            room = buffers.scratch(entries)
            if not bounded:
                sums[tile.rows] += torch.clamp(entries, min=0.0, out=room).sum(1)
                _exp_of_minus_(entries.abs_())
            sums[tile.rows] += _log1p_(entries, room).sum(1)

        problem.sweep(work, scratch=True)
        ctx.save_for_backward(a, b, scale, bias)
        ctx.pairs = pairs
        return sums

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b, scale, bias = ctx.saved_tensors
        with torch.no_grad(), torch.autocast(a.device.type, enabled=False):
            problem = Problem.cut(a, b, scale, bias, ctx.pairs, None)

            def weigh(tile: Tile, buffers: Buffers) -> Tensor:
                return buffers.entries(tile, False).sigmoid_().mul_(grad[tile.rows].unsqueeze(1))

            grads = gradients(problem, weigh, ctx.needs_input_grad[:4], scratch=False)
        return (*no_second_derivative(grads, (a, b, scale, bias, grad)), None)
