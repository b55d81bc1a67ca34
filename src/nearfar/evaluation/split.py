"""The split of one set into a part to learn from and a part to judge by."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.errors import must


def stratified_split(labels: Tensor, *, share: float = 0.2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Choose `share` of every class for testing: the row numbers of train and test, each ascending.

    labels `[N]`, -1 unlabelled rows go to neither side. The share of each class is rounded, at least one and never
    all; a class with one sample stays in train. The same seed and labels give the same split on every machine.
    """
    must(0 < share < 1, "share must be in (0, 1)", got=share)
    labels = labels.detach().cpu().long()
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    names, sizes = torch.unique(labels, return_counts=True)
    train, test = [by_class[:0]], [by_class[:0]]
    for name, members in zip(names.tolist(), torch.split(by_class, sizes.tolist()), strict=True):
        if name < 0:
            continue
        held = min(max(round(share * len(members)), 1), len(members) - 1)
        test.append(members[:held])
        train.append(members[held:])
    return torch.cat(train).sort().values, torch.cat(test).sort().values


def grouped_split(labels: Tensor, groups: Tensor, *, share: float = 0.2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """As `stratified_split`, but samples of equal `groups` `[N]` stand on one side.

    Groups are taken in a random order; one is tested on while no class of it has more than its share there. A class
    whose groups are all too large for that is tested on its smallest group, if it has another.
    """
    must(0 < share < 1, "share must be in (0, 1)", got=share)
    numbers = labels.detach().cpu().long()
    rows = (numbers >= 0).nonzero().flatten()
    members = _members(groups.detach().cpu()[rows], rows)
    sizes = torch.bincount(numbers[rows])
    wanted = (share * sizes).round().clamp(min=1)
    tested = torch.zeros_like(sizes)
    held: set[int] = set()
    for group in torch.randperm(len(members), generator=torch.Generator().manual_seed(seed)).tolist():
        there = torch.bincount(numbers[members[group]], minlength=len(sizes))
        # No class may stand on the test side alone.
        if bool((tested + there <= torch.minimum(wanted, sizes - 1).where(there > 0, tested + there)).all()):
            tested += there
            held.add(group)
    for label in ((tested == 0) & (sizes > 0)).nonzero().flatten().tolist():
        own = [g for g, some in enumerate(members) if g not in held and bool((numbers[some] == label).any())]
        if len(own) > 1:
            held.add(min(own, key=lambda g: len(members[g])))
    train = [some for g, some in enumerate(members) if g not in held]
    test = [members[g] for g in held]
    empty = rows[:0]
    return torch.cat([empty, *train]).sort().values, torch.cat([empty, *test]).sort().values


def linked_split(links: NDArray[np.int64], *, share: float = 0.2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Choose about `share` of N rows for testing, so that rows that have something in common stand on one side.

    `links` `[N, K]` are numbers of K things of each row; rows that share one, directly or in a chain, are one group,
    and groups are taken in a random order until the share is reached. Where one group holds more than half of the rows,
    only rows of equal things are kept together. Gives the row numbers of train and test, each ascending.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    must(0 < share < 1, "share must be in (0, 1)", got=share)
    count, things = links.shape
    at = np.repeat(np.arange(count), things)
    graph = coo_array((np.ones(len(at), bool), (at, count + np.unique(links, return_inverse=True)[1].ravel())))
    graph.resize((2 * count * things + count, 2 * count * things + count))
    groups = connected_components(graph, directed=False)[1][:count]
    if count and np.bincount(np.unique(groups, return_inverse=True)[1]).max() > count / 2:
        groups = np.unique(links, axis=0, return_inverse=True)[1].ravel()
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed)).numpy()
    reached = np.cumsum(sizes[order])
    held = np.isin(numbers, order[reached <= max(share * count, sizes[order[:1]].sum())])
    rows = torch.from_numpy(held)
    return (~rows).nonzero().flatten(), rows.nonzero().flatten()


def _members(groups: Tensor, rows: Tensor) -> list[Tensor]:
    """The rows of each group."""
    _, numbers, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    return list(torch.split(rows[numbers.argsort(stable=True)], sizes.tolist()))
