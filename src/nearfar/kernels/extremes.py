"""The nearest and the farthest column of each row: what mining asks for."""

from typing import NamedTuple

import torch
from torch import Tensor

from nearfar.kernels.pairs import ALL_PAIRS, Pairs
from nearfar.kernels.rows import row_blocks


class Extremes(NamedTuple):
    """For each row [M]: the product with the column found, and that column; -1 where no pair counts."""

    similarities: Tensor
    columns: Tensor


@torch.no_grad()
def extremes(
    rows: Tensor, columns: Tensor, *, pairs: Pairs = ALL_PAIRS, largest: bool = True, longest: int | None = None
) -> Extremes:
    """The column of the largest (or smallest) product with each row among the pairs that count: [M, D], [N, D] -> [M].

    Ties go to the first column. Gradients do not pass: a loss takes the columns and compares again.
    """
    m, n = len(rows), len(columns)
    pairs.check(m, n)
    never = -torch.inf if largest else torch.inf
    best = rows.new_full((m,), never)
    where = torch.full((m,), -1, dtype=torch.long, device=rows.device)
    if n == 0:
        return Extremes(best, where)
    with torch.autocast(rows.device.type, enabled=False):
        for at in row_blocks(m, n, longest=longest):
            block = rows[at] @ columns.T
            pairs.rule_out(block, at, slice(0, n), never)
            best[at], where[at] = block.max(1) if largest else block.min(1)
    return Extremes(best, where.masked_fill_(best == never, -1))
