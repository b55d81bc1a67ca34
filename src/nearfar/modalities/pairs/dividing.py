"""Pairs for training and for judging, which have nothing in common."""

from collections.abc import Hashable

import numpy as np

from nearfar import randomness
from nearfar.contract import Rows, Source

_SHARE = 0.2


def divide(first: Source, second: Source, owners: Rows, seed: int) -> tuple[Rows, Rows]:
    """The rows of `first` to train on, and about a fifth to judge by, each ascending.

    Samples whose items on either side have equal contents, directly or in a chain, stand together; `owners` [M] are the
    rows of `first` that the items of `second` belong to. Where more than half of the samples would stand together, each
    stands for itself.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(first)
    numbers: dict[Hashable, int] = {}
    things = [numbers.setdefault(content_of(first, row), len(numbers)) for row in range(count)]
    things += [numbers.setdefault(content_of(second, row), len(numbers)) for row in range(len(second))]
    rows = np.concatenate([np.arange(count), owners])
    size = count + len(numbers)
    graph = coo_array((np.ones(len(rows), bool), (rows, count + np.array(things, dtype=np.int64))), shape=(size, size))
    groups = connected_components(graph, directed=False)[1][:count]
    _, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if 2 * sizes.max() > count:
        groups, sizes = np.arange(count), np.ones(count, dtype=np.int64)
    order = randomness.permutation(seed, "pairs", 0, len(sizes))
    reached = np.cumsum(sizes[order])
    held = np.isin(groups, order[reached <= max(_SHARE * count, sizes[order[0]])])
    return np.flatnonzero(~held), np.flatnonzero(held)


def content_of(source: Source, row: int) -> Hashable:
    """What tells a sample's content from others without reading files: its file, else its bytes, else its row."""
    samples = source.samples
    path = samples.path(row)
    if path is not None:
        return path
    try:
        return samples.bytes(row)
    except OSError:
        return source.whole.name, int(samples.rows[row]), id(source.whole)
