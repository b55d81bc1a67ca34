"""Any function of a row of similarities, a block of rows at a time: memory linear in the number of columns.

The log-sum-exp, which has a quicker way of its own, is in `logsumexp.py`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import UnknownName, must
from nearfar.kernels.product import product
from nearfar.kernels.second import no_second_derivative

Score = Callable[..., Tensor]

# Entries of a block: 8 MB in float32. Larger ones gain nothing on a CPU, smaller ones read the columns too often.
_ENTRIES = 2**21
_DENSE_ENTRIES = 512 * 512


def row_blocks(m: int, n: int, *, longest: int | None = None) -> Iterator[slice]:
    """0..m in blocks of rows, each of about 2 million entries with n columns, or of `longest` rows."""
    step = longest or max(1, _ENTRIES // max(1, n))
    return (slice(start, min(start + step, m)) for start in range(0, m, step))


def row_scores(
    score: Score,
    rows: Tensor,
    columns: Tensor,
    *parameters: Tensor,
    implementation: str = "auto",
    longest: int | None = None,
) -> Tensor:
    """`score(similarities, at, *parameters)` of each block of rows, end to end: [M, D], [N, D] -> [M, ...].

    similarities [r, N] are the products of the rows `at`, a slice, with all columns; score is any differentiable
    function that gives [r, ...], and it is called again in the backward pass. Tensors that want gradients reach it as
    `parameters`, whole. With "dense" all rows are one block, which can be differentiated twice.
    """
    shapes = (tuple(rows.shape), tuple(columns.shape))
    fit = rows.dim() == columns.dim() == 2 and rows.shape[1] == columns.shape[1]
    must(fit, "rows [M, D] and columns [N, D] must be of one width", got=shapes)
    if implementation not in ("auto", "dense", "tiled"):
        raise UnknownName("implementation", implementation, ["auto", "dense", "tiled"])
    m, n = len(rows), len(columns)
    with torch.autocast(rows.device.type, enabled=False):
        if implementation == "dense" or m == 0 or (implementation == "auto" and m * n <= _DENSE_ENTRIES):
            return score(product(rows, columns.T), slice(0, m), *parameters)
        out: Tensor = _RowScores.apply(score, longest, rows, columns, *parameters)
        return out


class _RowScores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, score: Score, longest: int | None, rows: Tensor, columns: Tensor, *parameters: Tensor
    ) -> Tensor:
        blocks = row_blocks(len(rows), len(columns), longest=longest)
        out = torch.cat([score(rows[at] @ columns.T, at, *parameters) for at in blocks])
        ctx.save_for_backward(rows, columns, *parameters)
        ctx.rule = (score, longest)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        score, longest = ctx.rule
        rows, columns, *parameters = ctx.saved_tensors
        needs_rows, needs_columns, *needs_parameters = ctx.needs_input_grad[2:]
        leaves = [p.detach().requires_grad_(needs) for p, needs in zip(parameters, needs_parameters, strict=True)]
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        grads = [torch.zeros_like(leaf) for leaf in wanted]
        grad_rows = torch.zeros_like(rows) if needs_rows else None
        grad_columns = torch.zeros_like(columns) if needs_columns else None
        with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
            for at in row_blocks(len(rows), len(columns), longest=longest):
                similarities = rows[at] @ columns.T
                with torch.enable_grad():
                    found = score(similarities.requires_grad_(), at, *leaves)
                if not found.requires_grad:  # a block whose score is constant
                    continue
                weights, *more = torch.autograd.grad(found, [similarities, *wanted], grad[at], allow_unused=True)
                for total, part in zip(grads, more, strict=True):
                    if part is not None:
                        total += part
                if weights is None:
                    continue
                if grad_rows is not None:
                    torch.mm(weights, columns, out=grad_rows[at])
                if grad_columns is not None:
                    grad_columns.addmm_(weights.T, rows[at])
        made = iter(grads)
        everything = [grad_rows, grad_columns, *(next(made) if leaf.requires_grad else None for leaf in leaves)]
        return (None, None, *no_second_derivative(everything, (rows, columns, *parameters, grad)))
