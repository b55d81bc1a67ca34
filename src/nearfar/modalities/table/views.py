"""Views of rows: some cells are replaced by what stands in the same column of other rows, or by nothing.

Bahri et al., "SCARF: self-supervised contrastive learning using random feature corruption", 2022, section 3: in each
sample a fixed number of cells is chosen at random, and each is drawn anew from its column's empirical marginal, by
taking the cell of a row drawn at random from the whole table.

Where this differs: SCARF compares a corrupted row with the row itself, here every view is corrupted, so that methods
may ask for any number of views; and a row is never its own donor.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nearfar import randomness
from nearfar.contract import Requirements, Views

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nearfar.contract import Rows
    from nearfar.modalities.table.encoder import TableEncoder
    from nearfar.modalities.table.source import Cells

CORRUPTION = 0.3
"""Share of cells replaced: two views have half of their cells in common; with SCARF's 0.6 of one of the two, 0.4."""


def replaced(columns: int, share: float) -> int:
    """How many cells of a row a view replaces: `round(share * columns)`, at least one, and at least one is kept."""
    return min(max(1, round(share * columns)), columns - 1)


def chosen(numbers: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    """Exactly `count` cells of each row `[b, C]`: those with the smallest of its uniform numbers."""
    mask = np.zeros(numbers.shape, dtype=bool)
    np.put_along_axis(mask, np.argpartition(numbers, count - 1, axis=1)[:, :count], True, axis=1)
    return mask


def donors(numbers: NDArray[np.float32], at: Rows, size: int) -> Rows:
    """Rows `[b, C]` of a table of `size` rows, each other than the row `at` [b] itself; uniform numbers in."""
    drawn = (numbers.astype(np.float64) * max(size - 1, 1)).astype(np.int64)
    if size == 1:
        return drawn
    return drawn + (drawn >= at[:, None])


def corrupt(raw: Cells, draws: Rows, *, view: int, seed: int, share: float, swaps: bool = True) -> Tensor:
    """View number `view` of the raw rows, `[b, C]`; row i is a function of (seed, draws[i], view) and the table.

    Cells are swapped for those of other rows, or else become missing.
    """
    columns = raw.rows.shape[1]
    mask = chosen(randomness.uniform(seed, "table cells", draws, columns, view), replaced(columns, share))
    if not swaps:
        return raw.rows.masked_fill(torch.from_numpy(mask).to(raw.rows.device), float("nan"))
    given_by = donors(randomness.uniform(seed, "table donors", draws, columns, view), raw.at, len(raw.table))
    drawn = raw.table[torch.from_numpy(given_by), torch.arange(columns)]  # [b C]
    device = raw.rows.device
    return torch.where(torch.from_numpy(mask).to(device), drawn.to(device), raw.rows)


def make_views(
    raw: Cells,
    draws: Rows,
    *,
    requires: Requirements,
    seed: int,
    corruption: float,
    swaps: bool = True,
    encoder: TableEncoder,
) -> Views:
    """Views as the encoder's inputs; small ones keep half as many cells as wide ones."""

    def make(view: int, start: int, stop: int) -> Tensor:
        share = corruption if view < requires.wide else (1 + corruption) / 2
        part = replace(raw, rows=raw.rows[start:stop], at=raw.at[start:stop])
        rows = corrupt(part, draws[start:stop], view=view, seed=seed, share=share, swaps=swaps)
        return encoder.prepare(replace(part, rows=rows))

    return Views(make, range(requires.wide + requires.small), 0, len(raw.rows), requires.wide)
