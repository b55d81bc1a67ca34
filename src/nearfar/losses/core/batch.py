"""What every loss asks of its inputs, and the words for what is wrong with them."""

from typing import NamedTuple

import torch
from torch import Tensor

from nearfar.errors import ConfigError, DataError, must
from nearfar.kernels import Ring


class ShapeError(DataError, AssertionError):
    """Inputs of a loss that do not fit each other; an AssertionError too, which is what other packages raise."""


def check_same_shape(named: dict[str, Tensor], *, kind: str = "embeddings [B, D]", ring: Ring | None = None) -> None:
    """Raise ShapeError unless all are [B, D] of one shape, with at least one row; `kind` is what they are.

    Of a batch on a ring, this rank may have none.
    """
    first, *_ = named.values()
    for name, z in named.items():
        if z.dim() != 2:
            raise ShapeError(f"{name} must be {kind}, got shape {list(z.shape)}.")
        if z.shape != first.shape:
            shapes = ", ".join(f"{k} {list(v.shape)}" for k, v in named.items())
            raise ShapeError(f"Row i of each must belong to the same sample, so shapes must agree, got {shapes}.")
    if len(first) == 0 and not (ring and ring.samples):
        raise ShapeError("The batch is empty: a loss needs at least one sample.")


def check_embeddings(name: str, z: Tensor, *, width: int | None = None) -> None:
    """Raise ShapeError unless z is [N, D], of the given width where one is given."""
    if z.dim() != 2 or (width is not None and z.shape[1] != width):
        raise ShapeError(f"{name} must be embeddings [N, {width or 'D'}], got shape {list(z.shape)}.")


def check_several(named: dict[str, Tensor]) -> None:
    """Raise ShapeError unless all are [B, D] of one shape, with the two rows that statistics over a batch need."""
    check_same_shape(named)
    first, *_ = named.values()
    if len(first) < 2:
        raise ShapeError("The loss compares samples of the batch with each other: it needs at least two, got 1.")


def own_rows(rows: slice | None, size: int) -> slice:
    """The samples of `rows`, a plain range of 0..size; None is all of them."""
    if rows is None:
        return slice(0, size)
    start, stop, step = rows.start or 0, size if rows.stop is None else rows.stop, rows.step or 1
    must(step == 1 and 0 <= start <= stop <= size, f"rows must be a range within 0..{size}", got=rows)
    return slice(start, stop)


class Anchored(NamedTuple):
    """The samples whose losses are summed: `own` among all `samples`, and `here` among those that a loss is given."""

    samples: int
    own: slice
    here: slice


def anchored(rows: slice | None, given: int, ring: Ring | None) -> Anchored:
    """`rows` of a batch that is `given` whole, or all that is given where the batch lies on a ring."""
    if ring is None:
        own = own_rows(rows, given)
        return Anchored(given, own, own)
    count = ring.counts[ring.rank]
    if count != given:
        raise ShapeError(f"With a ring, embeddings are this rank's own {count}, got {given}.")
    must(rows in (None, ring.own), f"with a ring, rows can only be this rank's own, {ring.own}", got=rows)
    return Anchored(ring.samples, ring.own, slice(0, given))


def part(z: Tensor, rows: slice) -> Tensor:
    """z[rows], and z itself where that is all: a slice costs a tensor of the size of z in the backward pass."""
    return z if rows == slice(0, len(z)) else z[rows]


def integers(ids: Tensor, size: int, *, name: str = "ids") -> Tensor:
    """ids [size], integers of any type, in int64; raises ConfigError for others, DataError for another size."""
    if not isinstance(ids, Tensor) or ids.is_floating_point() or ids.is_complex():
        kind = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        raise ConfigError(f"{name} must be a tensor of integers, got {kind}: number the {name} first.")
    if ids.shape != (size,):
        raise ShapeError(f"{name} must name each of the {size} samples once, got shape {list(ids.shape)}.")
    return ids.long()


def group_numbers(ids: Tensor, size: int, *, name: str = "ids") -> Tensor:
    """Equal ids as equal small int32 numbers, from 0: [size] -> [size]."""
    numbers: Tensor = torch.unique(integers(ids, size, name=name), return_inverse=True)[1]
    return numbers.to(torch.int32)


def class_numbers(labels: Tensor, size: int, *, name: str = "labels") -> Tensor:
    """`group_numbers` where each -1, which is no class, gets a number of its own: [size] -> [size]."""
    labels = integers(labels, size, name=name)
    alone = torch.arange(size, 2 * size, device=labels.device)
    return group_numbers(torch.where(labels == -1, alone, group_numbers(labels, size)), size)
