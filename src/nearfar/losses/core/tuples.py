"""Index tuples, as miners find them: products and differences of the rows they name, and sums over each anchor."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nearfar.losses.core.batch import ShapeError, check_embeddings

# Numbers gathered at a time: K tuples never become K x D.
_GATHERED = 2**18


def check_indices(name: str, indices: Sequence[Tensor], sizes: Sequence[int]) -> None:
    """Raise ShapeError unless `indices` are vectors of integers, each below its size."""
    if len(indices) != len(sizes):
        raise ShapeError(f"{name} must be {len(sizes)} index vectors, got {len(indices)}.")
    for k, (index, size) in enumerate(zip(indices, sizes, strict=True)):
        if index.dim() != 1 or index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
            raise ShapeError(f"{name}[{k}] must be a vector of integers, got {index.dtype} {list(index.shape)}.")
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < size:
            raise ShapeError(f"{name}[{k}] must lie in 0..{size - 1}, got {int(index.min())}..{int(index.max())}.")


def columns_of(z: Tensor, reference: Tensor | None, prepare: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The anchors [M, D] and the columns [N, D] that index tuples name: those of z, or of the reference."""
    check_embeddings("z", z)
    anchors = prepare(z)
    if reference is None:
        return anchors, anchors
    check_embeddings("reference", reference, width=z.shape[1])
    return anchors, prepare(reference)


def products(rows: Tensor, columns: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """`rows[i[k]] . columns[j[k]]` for each k: [M, D], [N, D], [K], [K] -> [K]."""
    out: Tensor = _Gathered.apply(rows, columns, i, j, False)
    return out


def squared_differences(rows: Tensor, columns: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """`|rows[i[k]] - columns[j[k]]|^2` for each k: [M, D], [N, D], [K], [K] -> [K]."""
    out: Tensor = _Gathered.apply(rows, columns, i, j, True)
    return out


def anchor_lse(values: Tensor, anchors: Tensor, count: int) -> Tensor:
    """Log-sum-exp of the values [K] that belong to each of `count` anchors: [count], -inf where none does."""
    largest = values.new_full((count,), -torch.inf).scatter_reduce(0, anchors, values.detach(), "amax")
    shift = largest.masked_fill(largest == -torch.inf, 0.0)
    sums = values.new_zeros(count).index_add(0, anchors, (values - shift[anchors]).exp())
    some = sums > 0
    return torch.where(some, torch.where(some, sums, 1.0).log() + shift, -torch.inf)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Tensor, i: Tensor, j: Tensor, difference: bool) -> Tensor:
        out = rows.new_empty(len(i))
        for at in _blocks(i, rows):
            x, y = rows[i[at]], columns[j[at]]
            out[at] = (x - y).square_().sum(1) if difference else (x * y).sum(1)
        ctx.save_for_backward(rows, columns, i, j)
        ctx.difference = difference
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, columns, i, j = ctx.saved_tensors
        needs_rows, needs_columns = ctx.needs_input_grad[:2]
        grad_rows = torch.zeros_like(rows) if needs_rows else None
        grad_columns = torch.zeros_like(columns) if needs_columns else None
        if torch.is_grad_enabled():  # to be differentiated again
            x, y, g = rows[i], columns[j], grad[:, None]
            to_x, to_y = (2 * g * (x - y), 2 * g * (y - x)) if ctx.difference else (g * y, g * x)
            both = zip((rows, columns), (i, j), (to_x, to_y), ctx.needs_input_grad, strict=False)
            found = [torch.zeros_like(z).index_add(0, at, to) if needs else None for z, at, to, needs in both]
            return (*found, None, None, None)
        with torch.no_grad():
            for at in _blocks(i, rows):
                x, y, g = rows[i[at]], columns[j[at]], grad[at, None]
                to_x, to_y = (2 * g * (x - y), 2 * g * (y - x)) if ctx.difference else (g * y, g * x)
                if grad_rows is not None:
                    grad_rows.index_add_(0, i[at], to_x)
                if grad_columns is not None:
                    grad_columns.index_add_(0, j[at], to_y)
        return grad_rows, grad_columns, None, None, None


def _blocks(i: Tensor, rows: Tensor) -> list[slice]:
    step = max(1, _GATHERED // max(1, rows.shape[1]))
    return [slice(start, min(start + step, len(i))) for start in range(0, len(i), step)]
