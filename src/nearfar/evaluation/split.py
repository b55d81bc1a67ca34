"""The split of one labelled set into a part to learn from and a part to judge by."""

import torch
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
