"""Log-sum-exp of similarities tile by tile: the same numbers as the whole matrix gives, in memory linear in rows.

The forward sweep keeps the log-sum-exp alone; the backward sweep makes every tile again. Sources: online softmax
(Milakov & Gimelshein, 1805.02867); recomputed tiles for both directions of a contrastive loss (Inf-CL, 2410.17243).
Nothing is dropped: every pair adds to the value and to the gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nearfar.kernels.pairs import Pairs
from nearfar.kernels.range import within_range
from nearfar.kernels.schedule import Tile, oblong_tiles, run, square_tiles
from nearfar.kernels.second import no_second_derivative

# Measured: on a CPU, tiles that stay in a core's second-level cache; a GPU wants few, large operations.
_EDGE = {"cpu": 448}
_EDGE_ELSEWHERE = 4096
_SHORTEST_EDGE = 128

# The logarithm of the smallest normal number.
_LEAST_EXPONENT = {torch.float32: -87.33, torch.float64: -708.39}


def tiled_lse(
    a: Tensor,
    b: Tensor | None,
    scale: Tensor,
    bias: Tensor | None,
    pairs: Pairs,
    *,
    columns: bool,
    edge: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Row (and, with `columns`, column) log-sum-exp of `scale * a @ b.T + bias` over the pairs that count.

    a [M, D] and b [N, D] in float32 or float64; b None: the symmetric problem of a with itself, where each unordered
    tile is made once. scale [], bias [N] or None. Returns [M] and [N] or None; -inf where no pair counts.
    """
    if b is None and (bias is not None or columns):
        b = a  # not the plain symmetric problem: its halves differ
    rows, cols = _TiledLSE.apply(a, b, scale, bias, pairs, columns, edge)
    return rows, cols if columns else None


class Problem(NamedTuple):
    """One matrix of logits, `scale * a @ b.T + bias` over `pairs`, and how it is cut."""

    a: Tensor
    b: Tensor
    scale: Tensor
    bias: Tensor | None
    pairs: Pairs
    symmetric: bool
    tiles: list[Tile]
    threads: int

    @classmethod
    def cut(
        cls, a: Tensor, b: Tensor | None, scale: Tensor, bias: Tensor | None, pairs: Pairs, edge: int | None
    ) -> "Problem":
        """Cut the matrix into tiles for the threads there are, or into tiles of `edge`; b None is a itself."""
        m, n = len(a), len(a if b is None else b)
        threads = torch.get_num_threads() if a.device.type == "cpu" else 1
        longest = edge or _EDGE.get(a.device.type, _EDGE_ELSEWHERE)

        def share(size: int) -> int:  # at least two blocks a thread, as long as they are not too short
            return edge or min(longest, max(_SHORTEST_EDGE, -(-size // (2 * threads))))

        if b is None:
            return cls(a, a, scale, bias, pairs, True, square_tiles(n, share(n)), threads)
        return cls(a, b, scale, bias, pairs, False, oblong_tiles(m, n, share(m), share(n)), threads)

    def sweep(self, work: Callable[[Tile, "Buffers"], None], *, scratch: bool) -> None:
        """Do `work` on every tile, with or without scratch room."""
        # Made here and not on the threads, whose allocators would each keep what they once had.
        all_buffers = [Buffers(self, scratch) for _ in range(min(self.threads, len(self.tiles)))]
        workers = [lambda tile, own=own: work(tile, own) for own in all_buffers]
        if workers:
            run(self.tiles, workers, symmetric=self.symmetric)


class Buffers:
    """One thread's memory for a tile, used again for the next."""

    def __init__(self, problem: Problem, scratch: bool):
        self.problem = problem
        first = problem.tiles[0]  # no tile is larger
        rows, columns = first.rows.stop - first.rows.start, first.columns.stop - first.columns.start
        self._scaled = problem.a.new_empty(rows, problem.a.shape[1])
        self._entries = problem.a.new_empty(rows * columns)
        self._scratch = torch.empty_like(self._entries) if scratch else None
        grouped = problem.pairs.row_groups is not None
        self._mask = problem.a.new_empty(rows * columns, dtype=torch.bool) if grouped else None

    def entries(self, tile: Tile, bounded: bool) -> Tensor:
        """The logits [r, c] of the tile, -inf where no pair counts; or, where bounded, their exp, 0 where none counts.

        The result may be written on.
        """
        problem = self.problem
        rows, columns = problem.a[tile.rows], problem.b[tile.columns]
        scaled = torch.mul(rows, problem.scale, out=self._scaled[: len(rows)])
        entries = self._entries[: len(rows) * len(columns)].view(len(rows), len(columns))
        torch.mm(scaled, columns.T, out=entries)
        bias = None if problem.bias is None else problem.bias[tile.columns]
        if not bounded:
            if bias is not None:
                entries += bias
            problem.pairs.rule_out(entries, tile.rows, tile.columns, -torch.inf, self._mask)
            return entries
        # exp is slow at -inf, so what is left out is left out after it: nothing here can overflow.
        entries.exp_()
        if bias is not None:
            entries *= bias.exp()
        problem.pairs.rule_out(entries, tile.rows, tile.columns, 0.0, self._mask)
        return entries

    def scratch(self, like: Tensor) -> Tensor:
        """Room of the shape of `like`, to be written on."""
        assert self._scratch is not None
        return self._scratch[: like.numel()].view_as(like)


class _Sums:
    """Running sums of exp(logits) over one side of the matrix, in range by a running maximum where it is needed."""

    def __init__(self, like: Tensor, size: int, bounded: bool):
        self.sum = like.new_zeros(size)
        self.maximum = None if bounded else like.new_full((size,), -torch.inf)

    def add(self, at: slice, entries: Tensor, dim: int, buffers: Buffers) -> None:
        """Add the entries of a tile."""
        if self.maximum is None:
            self.sum[at] += entries.sum(dim)
            return
        before = self.maximum[at]
        after = torch.maximum(before, entries.amax(dim))
        shift = after.masked_fill(after == -torch.inf, 0.0)  # nothing but -inf so far: avoid -inf - -inf
        part = _exp_(torch.sub(entries, shift.unsqueeze(dim), out=buffers.scratch(entries))).sum(dim)
        self.sum[at] = self.sum[at] * (before - shift).exp() + part
        self.maximum[at] = after

    def lse(self) -> Tensor:
        return self.sum.log() if self.maximum is None else self.sum.log() + self.maximum


class _TiledLSE(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        b: Tensor | None,
        scale: Tensor,
        bias: Tensor | None,
        pairs: Pairs,
        columns: bool,
        edge: int | None,
    ) -> tuple[Tensor, Tensor]:
        problem = Problem.cut(a, b, scale, bias, pairs, edge)
        bounded = within_range(problem.a, problem.b, scale, bias)
        row_sums = _Sums(a, len(a), bounded)
        column_sums = row_sums if problem.symmetric else _Sums(a, len(problem.b), bounded) if columns else None

        def work(tile: Tile, buffers: Buffers) -> None:
            entries = buffers.entries(tile, bounded)
            row_sums.add(tile.rows, entries, 1, buffers)
            if column_sums is not None and (tile.mirrored or not problem.symmetric):
                column_sums.add(tile.columns, entries, 0, buffers)

        problem.sweep(work, scratch=not bounded)
        row_lse = row_sums.lse()
        column_lse = column_sums.lse() if columns and column_sums is not None else a.new_empty(0)
        ctx.save_for_backward(a, b, scale, bias, row_lse, column_lse)
        ctx.rule = (pairs, edge, bounded)
        ctx.set_materialize_grads(False)
        if not columns:
            ctx.mark_non_differentiable(column_lse)
        return row_lse, column_lse

    @staticmethod
    def backward(ctx: Any, row_grad: Tensor | None, column_grad: Tensor | None) -> tuple[Tensor | None, ...]:
        a, b, scale, bias, row_lse, column_lse = ctx.saved_tensors
        pairs, edge, bounded = ctx.rule
        with torch.no_grad(), torch.autocast(a.device.type, enabled=False):
            problem = Problem.cut(a, b, scale, bias, pairs, edge)
            if problem.symmetric:
                column_grad, column_lse = row_grad, row_lse
            rows = None if row_grad is None else _Weights(row_grad, row_lse, 1, bounded)
            cols = None if column_grad is None else _Weights(column_grad, column_lse, 0, bounded)
            both = rows is not None and cols is not None

            def weigh(tile: Tile, buffers: Buffers) -> Tensor:
                return _weigh(buffers.entries(tile, bounded), tile, rows, cols, buffers)

            grads: tuple[Tensor | None, ...] = (None,) * 4
            if rows is not None or cols is not None:
                grads = gradients(problem, weigh, ctx.needs_input_grad[:4], scratch=both)
        sources = (a, b, scale, bias, row_grad, column_grad)
        return (*no_second_derivative(grads, sources), None, None, None)


class _Weights:
    """g_i exp(t_ij - lse_i), what an entry weighs in the gradient, for the rows (dim 1) or columns (dim 0)."""

    def __init__(self, grad: Tensor, lse: Tensor, dim: int, bounded: bool):
        grad = grad.to(lse.dtype)
        shift = lse.masked_fill(lse == -torch.inf, torch.inf)  # a line without pairs: exp gives 0, not nan
        self.shift = None if bounded else shift
        self.factor = grad * (-shift).exp() if bounded else grad
        self.dim = dim

    def of(self, tile: Tile) -> tuple[Tensor | None, Tensor]:
        """Shift and factor of this side of the tile, shaped to go with its entries."""
        at = tile.rows if self.dim == 1 else tile.columns
        return None if self.shift is None else self.shift[at].unsqueeze(self.dim), self.factor[at].unsqueeze(self.dim)


def _weigh(entries: Tensor, tile: Tile, rows: _Weights | None, columns: _Weights | None, buffers: Buffers) -> Tensor:
    """Turn the entries of a tile into the weights of both sides, in place, in as few passes as there are."""
    sides = [side.of(tile) for side in (rows, columns) if side is not None]
    if len(sides) == 1:
        shift, factor = sides[0]
        return (entries if shift is None else _exp_(entries.sub_(shift))).mul_(factor)
    (row_shift, row_factor), (column_shift, column_factor) = sides
    scratch = buffers.scratch(entries)
    if row_shift is None or column_shift is None:
        return entries.mul_(torch.add(row_factor, column_factor, out=scratch))
    _exp_(torch.sub(entries, row_shift, out=scratch))
    _exp_(entries.sub_(column_shift)).mul_(column_factor)
    return entries.addcmul_(scratch, row_factor)


def _exp_(x: Tensor) -> Tensor:
    # Results below the smallest normal number become that number, a zero beside the 1 that every sum here contains:
    # exp falls back to slow code for them (measured: 100 times slower).
    return x.clamp_(min=_LEAST_EXPONENT[x.dtype]).exp_()


def gradients(
    problem: Problem, weigh: Callable[[Tile, Buffers], Tensor], needs: tuple[bool, ...], *, scratch: bool
) -> tuple[Tensor | None, ...]:
    """The gradients of a, b, scale and bias, `weigh` giving those of the logits of a tile [r, c]."""
    a, b, scale, bias, symmetric = problem.a, problem.b, problem.scale, problem.bias, problem.symmetric
    needs_a, needs_b, needs_scale, needs_bias = needs
    grad_a = torch.zeros_like(a) if needs_a or needs_scale else None
    grad_b = grad_a if symmetric else torch.zeros_like(b) if needs_b else None
    grad_bias = torch.zeros_like(bias) if needs_bias and bias is not None else None

    def work(tile: Tile, buffers: Buffers) -> None:
        weights = weigh(tile, buffers)
        if grad_a is not None:
            grad_a[tile.rows].addmm_(weights, b[tile.columns])
        # In a tile on the diagonal of a symmetric problem both orders of each pair are there already.
        if grad_b is not None and (tile.mirrored or not symmetric):
            grad_b[tile.columns].addmm_(weights.T, a[tile.rows])
        if grad_bias is not None:
            grad_bias[tile.columns] += weights.sum(0)

    problem.sweep(work, scratch=scratch)
    grad_scale = None
    if needs_scale and grad_a is not None:
        # sum_ij w_ij (a_i . b_j) = sum_i a_i . (W b)_i; a symmetric problem has counted each pair from both ends.
        grad_scale = inner_product(a, grad_a)
        grad_scale = grad_scale / 2 if symmetric else grad_scale
    for grad in (grad_a, None if symmetric else grad_b):
        if grad is not None:
            grad.mul_(scale)
    return (grad_a if needs_a else None, None if symmetric else grad_b, grad_scale, grad_bias)


def inner_product(a: Tensor, b: Tensor) -> Tensor:
    """Sum of a * b over all entries, in the type of b: [M, D], [M, D] -> []."""
    total = b.new_zeros(())
    for x, y in zip(torch.split(a, _EDGE_ELSEWHERE), torch.split(b, _EDGE_ELSEWHERE), strict=True):
        total += (x * y).sum()
    return total
