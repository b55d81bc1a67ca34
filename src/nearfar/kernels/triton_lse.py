"""Log-sum-exp of similarities by Triton programs on a GPU: the sums of `tiled_lse`, in memory linear in rows.

Forward: each tile is made once, for both directions or, in the symmetric problem, for both orders of a pair. Backward:
one sweep for the gradient of each side, accumulated in float32 inside the program that owns the rows. No atomics, and
sizes alone decide the order of all sums: equal inputs give equal bits. Sources: as in `tiled`.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import must
from nearfar.kernels.pairs import Pairs
from nearfar.kernels.range import within_range
from nearfar.kernels.second import no_second_derivative
from nearfar.kernels.tiled import inner_product
from nearfar.kernels.triton_sweeps import LOG2_E, Blocks, Sweeps, Weights
from nearfar.kernels.triton_tiles import INTERPRETED

_TYPES = (torch.bfloat16, torch.float16, torch.float32)

# Gradients are scaled to this largest size before they become weights: float16 still holds two of them added, and what
# it loses at the other end is 2^-39 of the largest.
_LARGEST_FACTOR = 2.0**14

# Where the logarithms of all sums lie this near to their middle (in base 2), exp of a logit's distance to the middle
# stays in range, and what it loses at the other end is e^-47 of a row's sum: one exp then serves rows and columns.
_SAFE_DISTANCE = 40.0 * LOG2_E


def triton_lse(
    a: Tensor,
    b: Tensor | None,
    scale: Tensor,
    bias: Tensor | None,
    pairs: Pairs,
    *,
    columns: bool,
    product: torch.dtype | None = None,
    blocks: tuple[Blocks, Blocks] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Row (and column) log-sum-exp; arguments and results as in `tiled_lse`, any D, in bfloat16, float16 or float32.

    a and b are rounded to `product` (one of these types; by default their own) before they are multiplied; sums and
    results are float32. Rounding moves `a_i . b_j` by at most 2^-8 |a_i| |b_j| in bfloat16, 2^-10 in float16 (2^-9 and
    2^-11 of each factor), and no logarithm by more than |scale| times that; float32 is multiplied as three products of
    TF32 parts, right to about 2^-20 |a_i| |b_j|. The gradient is that of the rounded problem, but for the weights,
    which are rounded to `product` too where they meet the rows. `blocks` are those of the forward and backward pass.
    """
    must(a.is_cuda or INTERPRETED, "implementation='triton' needs embeddings on a CUDA device", got=str(a.device))
    for z in (a, b):
        must(z is None or z.dtype in _TYPES, "implementation='triton' takes bfloat16, float16, float32: take 'tiled'",
             got=getattr(z, "dtype", None))  # fmt: skip
    must(product is None or product in _TYPES, "product must be bfloat16, float16 or float32", got=product)
    if b is None and (bias is not None or pairs.self_column is None or columns):
        b = a  # not the plain symmetric problem, of which half is enough
    product = product or torch.promote_types(a.dtype, a.dtype if b is None else b.dtype)
    rows, cols = _TritonLSE.apply(a, b, scale, bias, pairs, columns, product, blocks)
    return rows, cols if columns else None


def blocks_for(width: int, product: torch.dtype, *, bounded: bool) -> tuple[Blocks, Blocks]:
    """The blocks of the forward (whose logits are bounded, or need a running maximum) and of the backward pass."""
    # Compiled for capability 9.0 no variant of these spills registers, for 8.0 some do by a few; both fit into 99 KB
    # of shared memory where a card has no more.
    if product == torch.float32:
        return Blocks(64, 64, 32, 128, 8, 2), Blocks(64, 32, 32, 128, 8, 2)
    if width <= 128:
        return Blocks(128 if bounded else 64, 64, 128, 128, 4, 3), Blocks(128, 64, 128, 128, 8, 3)
    if width <= 256:
        return Blocks(64, 64, 256, 256, 4, 2), Blocks(64, 64, 256, 256, 8, 2)
    return Blocks(128, 64, 64, 256, 8, 3), Blocks(64, 64, 64, 256, 8, 2)


class _TritonLSE(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        b: Tensor | None,
        scale: Tensor,
        bias: Tensor | None,
        pairs: Pairs,
        columns: bool,
        product: torch.dtype,
        blocks: tuple[Blocks, Blocks] | None,
    ) -> tuple[Tensor, Tensor]:
        bounded = within_range(a, a if b is None else b, scale.float(), bias)
        blocks = blocks or blocks_for(a.shape[1], product, bounded=bounded)
        with _on(a.device):
            sweeps = Sweeps.over(a, b, scale, bias, pairs, product, blocks[1].out)
            row_lse, column_lse = sweeps.log_sums(columns=columns, bounded=bounded, blocks=blocks[0])
        # The rounded copies are made again in the backward pass; a and b are held by others anyway.
        ctx.save_for_backward(a, b, scale, bias, row_lse, column_lse if columns else None)
        ctx.rule = (pairs, product, blocks)
        ctx.set_materialize_grads(False)
        cols = row_lse.new_empty(0) if column_lse is None or not columns else column_lse / LOG2_E
        if not columns:
            ctx.mark_non_differentiable(cols)
        return row_lse / LOG2_E, cols

    @staticmethod
    def backward(ctx: Any, row_grad: Tensor | None, column_grad: Tensor | None) -> tuple[Tensor | None, ...]:
        a, b, scale, bias, row_lse, column_lse = ctx.saved_tensors
        pairs, product, blocks = ctx.rule
        with torch.no_grad(), torch.autocast(a.device.type, enabled=False), _on(a.device):
            sweeps = Sweeps.over(a, b, scale, bias, pairs, product, blocks[1].out)
            sides = [None if row_grad is None else (row_grad, row_lse)]
            sides.append(sides[0] if sweeps.symmetric else None if column_grad is None else (column_grad, column_lse))
            grads = _gradients(sweeps, sides, a, b, scale, bias, blocks[1], ctx.needs_input_grad[:4])
        sources = (a, b, scale, bias, row_grad, column_grad)
        return (*no_second_derivative(grads, sources), None, None, None, None)


def _gradients(
    sweeps: Sweeps,
    sides: list[tuple[Tensor, Tensor] | None],
    a: Tensor,
    b: Tensor | None,
    scale: Tensor,
    bias: Tensor | None,
    blocks: Blocks,
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """The gradients of a, b, scale and bias, from (gradient, lse) of the rows and of the columns."""
    if sides == [None, None]:
        return (None, None, None, None)
    needs_a, needs_b, needs_scale, needs_bias = needs
    by_row, by_column, shift, unit = _weights(sides)
    grad_a = grad_b = grad_scale = grad_bias = None
    if needs_a or needs_scale:
        sums, _ = sweeps.weighted_sums(by_row, by_column, shift, turned=False, alone=False, blocks=blocks)
        if needs_scale:
            # sum_ij w_ij (a_i . b_j) = sum_i a_i . (W b)_i; a symmetric problem has counted each pair from both ends.
            grad_scale = inner_product(sweeps.rows.z, sums) * (unit / 2 if sweeps.symmetric else unit)
        if needs_a:
            grad_a = sums.mul_(unit * scale)[:, : a.shape[1]]
    if b is not None and (needs_b or needs_bias):
        sums, weights = sweeps.weighted_sums(by_row, by_column, shift, turned=True, alone=needs_bias, blocks=blocks)
        grad_b = sums.mul_(unit * scale)[:, : b.shape[1]] if needs_b else None
        grad_bias = None if weights is None else weights * unit
    found = zip((grad_a, grad_b, grad_scale, grad_bias), (a, b, scale, bias), strict=True)
    return tuple(None if grad is None or x is None else grad.to(x.dtype) for grad, x in found)


def _weights(
    sides: list[tuple[Tensor, Tensor] | None],
) -> tuple[Weights | None, Weights | None, Tensor | None, Tensor]:
    """Weights of rows and columns, the shift that lets one exp make both or None, and the unit they are in."""
    given = [side for side in sides if side is not None]
    largest = torch.stack([grad.abs().amax() if len(grad) else grad.new_zeros(()) for grad, _ in given]).float().amax()
    unit = torch.where(largest > 0, largest / _LARGEST_FACTOR, 1.0)
    lse = torch.cat([lse for _, lse in given])
    lse = lse[lse != -torch.inf]
    low, high = lse.aminmax() if len(lse) else (lse.new_zeros(()),) * 2
    shift = (low + high) / 2 if bool(high - low <= 2 * _SAFE_DISTANCE) else None

    def of(side: tuple[Tensor, Tensor] | None) -> Weights | None:
        if side is None:
            return None
        grad, lse = side[0].float() / unit, side[1]
        lse = lse.masked_fill(lse == -torch.inf, torch.inf)  # a line without pairs: weight 0, not nan
        return Weights(lse, grad) if shift is None else Weights(None, grad * (shift - lse).exp2())

    return of(sides[0]), of(sides[1]), shift, unit


def _on(device: torch.device) -> AbstractContextManager[Any]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
