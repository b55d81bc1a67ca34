"""How the programs of `triton_tiles` are launched over one matrix of logits."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.kernels.pairs import Pairs
from nearfar.kernels.triton_tiles import merge, sums_of_exp, weighted_sums

LOG2_E = math.log2(math.e)

# Sums of the streamed side are kept by block of own rows, for so many at a time: so many numbers for each of its rows.
_BLOCKS_AT_ONCE = 32

# Forward, so many programs that their last wave is a small part of all; backward, fewer for a small problem, since
# each of them writes gradients of its own, to be added up.
_FORWARD_PROGRAMS = 4096
_BACKWARD_PROGRAMS = 256


class Blocks(NamedTuple):
    """How a program is cut: rows it owns, rows it takes at a time, and how much of their width it multiplies and sums.

    Then its warps, and how many tiles are on their way at a time.
    """

    own: int
    stream: int
    piece: int
    out: int
    warps: int
    stages: int


class Weights(NamedTuple):
    """What makes the weight of a pair of one side from its logit t: `factor * 2 ** (t - lse)`."""

    lse: Tensor | None
    factor: Tensor


class _Side(NamedTuple):
    z: Tensor  # [size width]
    bias: Tensor | None
    groups: Tensor | None


class Sweeps(NamedTuple):
    """One matrix of logits, with all that the programs read; logarithms are to base 2."""

    rows: _Side
    columns: _Side
    scale: Tensor
    pairs: Pairs
    symmetric: bool

    @classmethod
    def over(
        cls,
        a: Tensor,
        b: Tensor | None,
        scale: Tensor,
        bias: Tensor | None,
        pairs: Pairs,
        product: torch.dtype,
        widest: int,
    ) -> "Sweeps":
        """a and b rounded to `product`; b None: the symmetric problem, without the pairs of a row with itself."""
        row_groups, column_groups = (
            None if g is None else g.contiguous() for g in (pairs.row_groups, pairs.column_groups)
        )
        rows = _Side(_ready(a, product, widest), None, row_groups)
        other = rows.z if b is None or b is a else _ready(b, product, widest)
        columns = _Side(other, None if bias is None else bias.float() * LOG2_E, column_groups)
        return cls(rows, columns, scale.float() * LOG2_E, pairs, b is None)

    def log_sums(self, *, columns: bool, bounded: bool, blocks: Blocks) -> tuple[Tensor, Tensor | None]:
        """The log-sum-exp of the rows, and with `columns` of the columns."""
        m, n = len(self.rows.z), len(self.columns.z)
        row_sums = _RunningSums(self.rows.z)
        column_sums = row_sums if self.symmetric else _RunningSums(self.columns.z) if columns else None
        own_blocks, tiles = -(-m // blocks.own), -(-n // blocks.stream)
        at_once = own_blocks if column_sums is None else min(own_blocks, _BLOCKS_AT_ONCE)
        column_parts = None if column_sums is None else self.scale.new_empty(at_once, n)
        for first in range(0, own_blocks if tiles else 0, max(at_once, 1)):
            count = min(at_once, own_blocks - first)
            begin, end = first * blocks.own, min((first + count) * blocks.own, m)
            start = begin // blocks.stream if self.symmetric else 0
            chunks, per_chunk = _chunks(tiles - start, count, _FORWARD_PROGRAMS)
            row_parts = self.scale.new_empty(chunks, count * blocks.own)
            if column_parts is not None and self.symmetric:
                column_parts.fill_(-torch.inf)  # a block has no part in the rows above it
            sums_of_exp[(count, chunks)](
                self.rows.z, self.columns.z, self.scale, self.columns.bias, self.rows.groups, self.columns.groups,
                row_parts, column_parts, m, n, self.pairs.self_column or 0, first, per_chunk, start, tiles,
                row_parts.stride(0), SYMMETRIC=self.symmetric, BOUNDED=bounded, **self._constants(blocks),
            )  # fmt: skip
            row_sums.add(row_parts, begin, end)
            if column_sums is not None and column_parts is not None:
                above = start * blocks.stream
                column_sums.add(column_parts[:count, above:], above, n)
        return row_sums.lse(), None if column_sums is None else column_sums.lse()

    def weighted_sums(
        self,
        by_row: Weights | None,
        by_column: Weights | None,
        shift: Tensor | None,
        *,
        turned: bool,
        alone: bool,
        blocks: Blocks,
    ) -> tuple[Tensor, Tensor | None]:
        """Sum over the columns of weight times column, for each row [M, width]; turned: over rows, for each column.

        With `alone`, the sums of the weights too. With a shift, both sides are without lse: it stands in their
        factors, less the shift, and one exp makes the weight of both.
        """
        own, other, mine, theirs = self.rows, self.columns, by_row, by_column
        offset = self.pairs.self_column or 0
        if turned:
            own, other, mine, theirs, offset = other, own, theirs, mine, -offset
        m, n, width = len(own.z), len(other.z), own.z.shape[1]
        constants = {"OUT": min(width, blocks.out), **self._constants(blocks)}
        own_blocks, pieces, tiles = -(-m // blocks.own), width // constants["OUT"], -(-n // blocks.stream)
        chunks, per_chunk = _chunks(tiles, own_blocks * pieces, _BACKWARD_PROGRAMS)
        sums = self.scale.new_empty(chunks, m, width)
        weights = self.scale.new_empty(chunks, m) if alone else None
        if m and n:
            my_lse, my_factor = mine or (None, None)
            their_lse, their_factor = theirs or (None, None)
            weighted_sums[(own_blocks, pieces, chunks)](
                own.z, other.z, self.scale, shift, own.bias, other.bias, my_lse, my_factor, their_lse, their_factor,
                own.groups, other.groups, sums, weights, m, n, offset, per_chunk, tiles, **constants,
            )  # fmt: skip
        return _over_chunks(sums), None if weights is None else _over_chunks(weights)

    def _constants(self, blocks: Blocks) -> dict[str, Any]:
        width = self.rows.z.shape[1]
        return {
            "WIDTH": width,
            "PIECE": min(width, blocks.piece),
            "OWN": blocks.own,
            "STREAM": blocks.stream,
            "SELF": self.pairs.self_column is not None,
            "SAME": self.pairs.keep == "same",
            "PRECISION": "tf32x3" if self.rows.z.dtype == torch.float32 else None,
            "num_warps": blocks.warps,
            "num_stages": blocks.stages,
        }


def _ready(z: Tensor, dtype: torch.dtype, widest: int) -> Tensor:
    # Zeros up to a power of two, or to whole pieces: then no program looks at the end of a row.
    width = z.shape[1]
    padded = max(16, 1 << (width - 1).bit_length()) if width <= widest else -(-width // widest) * widest
    z = z.to(dtype)
    return z.contiguous() if padded == width else F.pad(z, (0, padded - width))


def _chunks(tiles: int, programs: int, wanted: int) -> tuple[int, int]:
    """In how many runs to cut a sweep of so many tiles, that has so many programs uncut, and the length of a run."""
    per_chunk = max(1, -(-tiles // max(1, wanted // max(programs, 1))))
    return -(-tiles // per_chunk), per_chunk


def _over_chunks(parts: Tensor) -> Tensor:
    return parts[0] if len(parts) == 1 else parts.sum(0)


class _RunningSums:
    """Sums of exp as they come in, `total * 2 ** top` for each row."""

    def __init__(self, z: Tensor):
        self.top = torch.full((len(z),), -torch.inf, device=z.device)
        self.total = torch.zeros_like(self.top)

    def add(self, parts: Tensor, begin: int, end: int) -> None:
        """Add to begin..end the sums whose logarithms are parts [K, end - begin or more], one K after the other."""
        block, size = 256, end - begin
        merge[(-(-size // block),)](
            parts, self.top[begin:end], self.total[begin:end], size, len(parts), parts.stride(0), BLOCK=block
        )

    def lse(self) -> Tensor:
        return self.top + self.total.log2()
