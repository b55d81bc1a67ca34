"""Which (row, column) pairs of a similarity matrix count, said without a mask of its size."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nearfar.errors import must


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """A rule for the pairs that count: every pair, less those ruled out by one of its fields.

    With `self_column`, row i and column `self_column + i` are the same thing, and are no pair. With groups (integers,
    rows [M], columns [N]), only pairs of different groups count (`keep="different"`), or only those of the same group
    (`keep="same"`).
    """

    self_column: int | None = None
    row_groups: Tensor | None = None
    column_groups: Tensor | None = None
    keep: str = "different"

    def check(self, m: int, n: int) -> None:
        """Raise ConfigError where the rule does not fit an [M, N] matrix."""
        if self.self_column is not None:
            start = self.self_column
            must(start >= 0 and start + m <= n, f"self_column must lie in 0..{n - m} for {m} x {n} pairs", got=start)
        must(self.keep in ("different", "same"), "keep must be 'different' or 'same'", got=self.keep)
        rows, columns = self.row_groups, self.column_groups
        must((rows is None) == (columns is None), "row_groups and column_groups come together", got=(rows, columns))
        if rows is not None and columns is not None:
            sizes = (tuple(rows.shape), tuple(columns.shape))
            must(sizes == ((m,), (n,)), f"groups must be of {m} rows and {n} columns", got=sizes)

    def of_columns(self, at: slice) -> "Pairs":
        """The rule for these columns alone, among which are the own columns of all rows or of none."""
        start = None if self.self_column is None else self.self_column - at.start
        inside = start is not None and 0 <= start < at.stop - at.start
        groups = None if self.column_groups is None else self.column_groups[at]
        return replace(self, self_column=start if inside else None, column_groups=groups)

    def rule_out(
        self, entries: Tensor, rows: slice, columns: slice, value: float = -torch.inf, mask: Tensor | None = None
    ) -> None:
        """Set the entries [r, c] of this tile to `value`, in place, where the pair does not count.

        mask is a flat buffer of at least r * c booleans to be written on, if there is one.
        """
        if self.self_column is not None:
            entries.diagonal(self.self_column + rows.start - columns.start).fill_(value)
        if self.row_groups is not None and self.column_groups is not None:
            compare = torch.eq if self.keep == "different" else torch.ne
            room = None if mask is None else mask[: entries.numel()].view_as(entries)
            ruled_out = compare(self.row_groups[rows, None], self.column_groups[None, columns], out=room)
            entries.masked_fill_(ruled_out, value)


ALL_PAIRS = Pairs()
