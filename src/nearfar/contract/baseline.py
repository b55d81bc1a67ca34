"""What an encoder must beat, and what needs no encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from nearfar.contract.source import Source


class Baseline:
    """A system without an encoder: it gives vectors of samples, or answers a task itself; `name` stands in tables.

    A task asks it for what it needs, and leaves it out where the answer is None.
    """

    name: str

    def fit(self, train: Source) -> None:
        """Learn from the training samples, without their labels; called once, before all else."""

    def vectors(self, source: Source) -> Tensor | None:
        """A vector of each sample `[N, D]` float32; None where it has none."""
        return None

    def classify(self, train: Source, labels: Tensor, test: Source, classes: int) -> Tensor | None:
        """Probabilities `[M, classes]` by a classifier of its own, fitted to samples with their labels `[N]`.

        None: its vectors are judged as those of an encoder are.
        """
        return None

    def similarity(self, one: Source, other: Source) -> Tensor | None:
        """How near sample i of one source is to sample i of the other `[M]`; None: the cosine of its vectors."""
        return None

    def rank(self, queries: Source, corpus: Source) -> Tensor | None:
        """How near each sample of the corpus is to each query `[Q, C]`; None: the cosine of its vectors."""
        return None


class RawInput(Baseline):
    """The input itself as a vector, as its source gives it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def vectors(self, source: Source) -> Tensor | None:
        """`Source.vectors`."""
        return source.vectors()
