"""What every loss of labels asks for, and which of its pairs are positive and which negative.

The one calling convention: `loss(z, *, labels, reference=None, reference_labels=None, offset=None, rows=None, ...)`.

- z [M, D] are the anchors, labels [M] integers: equal means the same class, and -1 none, so that such an anchor has
  negatives alone.
- Anchors are compared with each other, never with themselves; or, with reference [N, D] and reference_labels [N] (a
  memory, the embeddings of all ranks), with those columns alone. Where the anchors are among the columns, `offset` says
  where: `reference[offset + i]` is anchor i, and is no pair of it.
- rows is a range of anchors, whose losses alone are summed; means still divide by the count of the whole batch, so that
  shares of disjoint rows sum to the whole.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nearfar.errors import must
from nearfar.kernels import Pairs, row_lse, self_lse
from nearfar.losses.core.batch import ShapeError, check_embeddings, class_numbers, integers, own_rows, part


class Labelled(NamedTuple):
    """Anchors [M, D] against columns [N, D], of labels that are small numbers; `own` are the anchors of this share."""

    anchors: Tensor
    columns: Tensor
    labels: Tensor
    column_labels: Tensor
    own: slice
    offset: int | None

    @property
    def whole(self) -> bool:
        """Whether the share is all anchors."""
        return self.own == slice(0, len(self.anchors))

    @property
    def rows(self) -> Tensor:
        """The anchors of this share: [R, D]."""
        return part(self.anchors, self.own)

    def all_rows(self) -> "Labelled":
        """The same with all anchors as the share."""
        return self._replace(own=slice(0, len(self.anchors)))

    def pairs(self, keep: str) -> Pairs:
        """The rule for negatives (`keep="different"`) or positives (`keep="same"`) of the rows of this share."""
        offset = None if self.offset is None else self.offset + self.own.start
        return Pairs(offset, self.labels[self.own], self.column_labels, keep)

    def lse(self, scale: float | Tensor, keep: str, implementation: str) -> Tensor:
        """Log-sum-exp of scaled products over the negatives or the positives of each row: [R], -inf where none is."""
        if self.anchors is self.columns and self.whole:
            return self_lse(self.anchors, scale=scale, groups=self.labels, keep=keep, implementation=implementation)
        pairs = self.pairs(keep)
        return row_lse(self.rows, self.columns, scale=scale, pairs=pairs, implementation=implementation)

    def masks(self, at: slice) -> tuple[Tensor, Tensor]:
        """Which columns are positives and negatives of a block of this share's rows: [r, N], [r, N]."""
        rows = slice(self.own.start + at.start, self.own.start + at.stop)
        positive = self.labels[rows, None] == self.column_labels
        negative = ~positive
        if self.offset is not None:
            positive.diagonal(self.offset + rows.start).fill_(False)
        return positive, negative

    def counts(self) -> tuple[Tensor, Tensor]:
        """The number of positives and of negatives of every anchor, of this share or not: [M], [M]."""
        sizes = torch.bincount(self.column_labels, minlength=int(self.labels.max()) + 1)
        same = sizes[self.labels.long()]
        return same - int(self.offset is not None), len(self.columns) - same


def compare(
    z: Tensor,
    labels: Tensor,
    reference: Tensor | None,
    reference_labels: Tensor | None,
    offset: int | None,
    rows: slice | None,
    prepare: Callable[[Tensor], Tensor],
) -> Labelled:
    """The comparison that was asked for, all embeddings put through `prepare`; ShapeError where shapes do not agree."""
    check_embeddings("z", z)
    if len(z) == 0:
        raise ShapeError("The batch is empty: a loss needs at least one sample.")
    m = len(z)
    own = own_rows(rows, m)
    labels = integers(labels, m, name="labels")
    if reference is None:
        must(reference_labels is None, "reference_labels belong to a reference", got=reference)
        must(offset is None, "offset is a place in a reference", got=offset)
        anchors, numbers = prepare(z), class_numbers(labels, m)
        return Labelled(anchors, anchors, numbers, numbers, own, 0)
    check_embeddings("reference", reference, width=z.shape[1])
    if reference_labels is None:
        raise ShapeError("A reference needs reference_labels, one for each of its rows.")
    n = len(reference)
    if n == 0:
        raise ShapeError("The reference is empty: leave it out to compare the batch with itself.")
    reference_labels = integers(reference_labels, n, name="reference_labels")
    must(offset is None or 0 <= offset <= n - m, f"offset must lie in 0..{n - m} for {m} anchors in {n} columns",
         got=offset)  # fmt: skip
    numbers = class_numbers(torch.cat([labels, reference_labels]), m + n)
    own_numbers, column_numbers = numbers[:m], numbers[m:]
    if offset is not None:  # an anchor without a class has one number in both places
        own_numbers = torch.where(labels == -1, column_numbers[offset : offset + m], own_numbers)
    return Labelled(prepare(z), prepare(reference), own_numbers, column_numbers, own, offset)
