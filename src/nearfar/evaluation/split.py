"""Train and test vectors, and the stratified split that makes them from one labelled set."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nearfar.errors import DataError, must


@dataclass(frozen=True)
class Split:
    """Frozen embeddings of one system: train `[N, D]` and test `[M, D]` with labels `[N]`, `[M]` (-1: unlabelled)."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor

    def __post_init__(self) -> None:
        for part, vectors, labels in (
            ("train", self.train, self.train_labels),
            ("test", self.test, self.test_labels),
        ):
            if vectors.ndim != 2 or labels.shape != vectors.shape[:1]:
                raise DataError(
                    f"The {part} vectors must be [N, D] with one label each, got the shapes "
                    f"{list(vectors.shape)} and {list(labels.shape)}."
                )
        if self.train.shape[1] != self.test.shape[1]:
            raise DataError(
                f"Train vectors are {self.train.shape[1]} wide, test vectors {self.test.shape[1]}; "
                "both must come from one encoder."
            )

    @classmethod
    def of(cls, vectors: Tensor, labels: Tensor, *, share: float = 0.2, seed: int = 0) -> "Split":
        """Split one labelled set `[N, D]`, `[N]` by `stratified_split`."""
        return cls.at(vectors, labels, *stratified_split(labels, share=share, seed=seed))

    @classmethod
    def at(cls, vectors: Tensor, labels: Tensor, train: Tensor, test: Tensor) -> "Split":
        """Split one labelled set `[N, D]`, `[N]` at the row numbers of train and test."""
        return cls(vectors[train], labels[train], vectors[test], labels[test])


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
