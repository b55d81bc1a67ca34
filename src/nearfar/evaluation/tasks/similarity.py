"""Similarity: do cosines of pairs rise with the scores that people have given them?"""

from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.contract import Rows, Source
from nearfar.errors import DataError
from nearfar.evaluation.correlation import judged
from nearfar.evaluation.task import Row, Systems, Task, TaskData, Vectors
from nearfar.progress import track

LEAST = 10
"""Pairs from which on correlations say something."""


class Similarity(Task):
    """Spearman's and Pearson's correlation of cosines with scores, over the test pairs that have one."""

    name = "similarity"
    of_pairs: ClassVar[bool] = True
    meanings = MappingProxyType(
        {
            "Spearman": "How well the cosines of pairs put them into the order of their scores: the correlation of "
            "ranks, times 100. 0 is no relation, 100 the same order.",
            "Pearson": "How near cosines of pairs are to a rising line of their scores: the correlation, times 100.",
        }
    )

    def applies(self, data: TaskData) -> bool:
        """Whether there are test pairs with scores, of which some differ."""
        return data.test is not None and len(np.unique(_pairs(data.test)[1])) > 1 and len(_pairs(data.test)[0]) >= LEAST

    def protocol(self, data: TaskData) -> str:
        """What is correlated."""
        return (
            "Similarity: the cosine of each test pair with its score, in fp32; 95 % interval by bootstrap over pairs."
        )

    def run(self, systems: Systems, data: TaskData) -> list[Row]:
        """Spearman's correlation is judged, Pearson's is shown."""
        assert data.test is not None
        rows, scores = _pairs(data.test)
        one = data.test.take(rows)
        other = one.positives
        assert other is not None
        answers: dict[str, Tensor] = {}
        for name, vectors in track(systems.items(), "similarity"):
            if (answer := similarities(vectors, one, other)) is not None:
                answers[name] = answer
        known = torch.stack(list(answers.values())).isfinite().all(0)
        if int(known.sum()) < LEAST:
            raise DataError(f"Only {int(known.sum())} of {len(rows)} test pairs with a score can be read.")
        if not bool(known.all()):
            data.note(
                f"{int((~known).sum())} of {len(rows)} test pairs with a score cannot be read: they are left out."
            )
        at, size = torch.from_numpy(rows)[known], len(data.test)
        found: list[Row] = []
        for metric in ("Spearman", "Pearson"):
            values, leads, moved = judged(
                [answer[known] for answer in answers.values()],
                torch.from_numpy(scores)[known],
                ranked=metric == "Spearman",
                seed=data.seed,
            )
            for i, name in enumerate(answers):
                found.append(
                    Row(
                        name,
                        self.name,
                        metric,
                        {},
                        values[i],
                        leads[i] if i < len(leads) else None,
                        role="judged" if metric == "Spearman" else "shown",
                        chance=0.0,
                        influence=torch.zeros(size, dtype=torch.float64).index_put_((at,), moved[i]),
                    )
                )
        return found


def _pairs(test: Source) -> tuple[Rows, NDArray[np.float32]]:
    """The test samples that have a partner and a score, and the scores."""
    scores, positives = test.scores, test.positives
    if scores is None or positives is None:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    rows = np.flatnonzero(np.isfinite(scores) & (positives.at != test.at))
    return rows, scores[rows]


def similarities(vectors: Vectors, one: Source, other: Source) -> Tensor | None:
    """How near sample i of one source is to sample i of the other `[M]`, for this system; None where it cannot say."""
    if vectors.baseline is not None and (own := vectors.baseline.similarity(one, other)) is not None:
        return own.float().cpu()
    if not vectors.known:
        return None
    return torch.cosine_similarity(vectors.of(one).float(), vectors.of(other).float()).cpu()
