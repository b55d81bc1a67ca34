"""Sums of softplus over rows of similarities: what a loss of independent yes-or-no questions needs.

Tile by tile as in `tiled.py`: the forward sweep keeps the sums alone, the backward sweep makes every tile again.
"""

from typing import Any

import torch
from torch import Tensor

from nearfar.errors import UnknownName, must
from nearfar.kernels.pairs import ALL_PAIRS, Pairs
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
) -> Tensor:
    """Sum over the columns j of `log(1 + exp(scale * rows_i . columns_j + bias))`, for each row: [M, D], [N, D] -> [M].

    scale and bias are numbers or tensors []. Pairs that do not count add 0. Computed in float32 (float64 inputs stay
    float64), whatever autocast says.
    """
    shapes = (tuple(rows.shape), tuple(columns.shape))
    fit = rows.dim() == columns.dim() == 2 and rows.shape[1] == columns.shape[1]
    must(fit, "rows [M, D] and columns [N, D] must be of one width", got=shapes)
    m, n = len(rows), len(columns)
    pairs.check(m, n)
    if implementation not in ("auto", "dense", "tiled"):
        raise UnknownName("implementation", implementation, ["auto", "dense", "tiled"])
    dtype = torch.float64 if rows.dtype == columns.dtype == torch.float64 else torch.float32
    with torch.autocast(rows.device.type, enabled=False):
        a, b = rows.to(dtype), columns.to(dtype)
        scale, bias = (torch.as_tensor(x, dtype=dtype, device=a.device) for x in (scale, bias))
        if implementation == "dense" or (implementation == "auto" and m * n <= _DENSE_ENTRIES):
            logits = (a * scale) @ b.T + bias
            pairs.rule_out(logits, slice(0, m), slice(0, n))
            return softplus(logits).sum(1)
        out: Tensor = _RowSoftplus.apply(a, b, scale, bias.expand(n), pairs)
        return out


def softplus(x: Tensor) -> Tensor:
    """`log(1 + exp(x))`, exact for every x; torch's own rounds it to x from 20 on, which float64 can tell apart."""
    return -torch.nn.functional.logsigmoid(-x)


class _RowSoftplus(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, scale: Tensor, bias: Tensor, pairs: Pairs) -> Tensor:
        problem = Problem.cut(a, b, scale, bias, pairs, None)
        bounded = problem.bounded()
        sums = a.new_zeros(len(a))

        def work(tile: Tile, buffers: Buffers) -> None:
            entries = buffers.entries(tile, bounded)
            if bounded:  # these are the exponentials
                sums[tile.rows] += entries.log1p_().sum(1)
                return
            small = torch.abs(entries, out=buffers.scratch(entries)).neg_().exp_().log1p_()
            sums[tile.rows] += small.add_(entries.clamp_(min=0)).sum(1)

        problem.sweep(work, scratch=not bounded)
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
