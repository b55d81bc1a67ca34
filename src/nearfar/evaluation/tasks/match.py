"""Match: does each test sample find the positive that the data gives for it among those of all, and the other way?"""

from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.contract import Matched, Source
from nearfar.errors import DataError
from nearfar.evaluation.per_sample import name_of
from nearfar.evaluation.retrieval import ranked_scores
from nearfar.evaluation.task import Row, Systems, Task, TaskData, Vectors, rows_over_samples
from nearfar.progress import track

QUERIES = 2000
AT = (1, 5, 10)
_JUDGED = ("hit@1", "hit@5", "hit@10", "ndcg@10")
_LEAST = 2
_NAMES = {
    **{f"hit@{k}": f"recall@{k}" for k in AT},
    "ndcg@10": "NDCG@10",
    "map": "MAP",
    "mrr": "MRR",
}


class Match(Task):
    """Rankings both ways; all that the data pairs with what the query shows counts as right."""

    name = "match"
    of_pairs: ClassVar[bool] = True
    meanings = MappingProxyType(
        {
            **{f"recall@{k}": f"How often something right is among the first {k}." for k in AT},
            "NDCG@10": "How early what is right comes among the first 10, the first places counting most.",
            "MAP": "Mean average precision: how early all that is right comes; 100 % where nothing else is before it.",
            "MRR": "One over the place of the first right answer, averaged.",
            Matched.directions[0]: "Each test sample searches the positives of all.",
            Matched.directions[1]: "Each positive of a test sample searches all test samples.",
        }
    )

    def applies(self, data: TaskData) -> bool:
        """Whether there are test pairs, and no scores that say that some of them do not belong together."""
        if data.test is None or data.test.scores is not None:
            return False
        found = data.test.matched()
        return found is not None and len(found.rows) >= _LEAST

    def protocol(self, data: TaskData) -> str:
        """What searches what."""
        return (
            f"Match: at most {QUERIES} test samples search the different positives of all, and these the samples, by "
            "cosine; equal contents are one, all its pairs are right; 95 % interval by bootstrap over queries."
        )

    def run(self, systems: Systems, data: TaskData) -> list[Row]:
        """Recall at 1, 5 and 10 and NDCG@10 are judged, the other scores are details."""
        assert data.test is not None
        pairs = data.test.matched()
        assert pairs is not None
        judged = list(systems.values())[-1]
        for side in (pairs.one, pairs.other):  # what has been read is known by its content, and what cannot be is told
            judged.of(side)
        sides = _Side.of(pairs.one), _Side.of(pairs.other)
        right = torch.zeros(len(sides[0]), len(sides[1]), dtype=torch.bool)
        readable = _readable(pairs.one)[pairs.rows] & _readable(pairs.other)[pairs.others]
        at, to = torch.from_numpy(pairs.rows[readable]), torch.from_numpy(pairs.others[readable])
        right[sides[0].numbers[at], sides[1].numbers[to]] = True
        found: list[Row] = []
        for direction, (asked, there) in zip(pairs.directions, (sides, sides[::-1]), strict=True):
            relevant = right if asked is sides[0] else right.T
            found += self._directed(direction, asked, there, relevant, systems, data)
        return found

    def _directed(
        self, direction: str, asked: "_Side", there: "_Side", relevant: Tensor, systems: Systems, data: TaskData
    ) -> list[Row]:
        generator = torch.Generator().manual_seed(data.seed)
        able = relevant.any(1).nonzero()[:, 0]
        queries = able[torch.randperm(len(able), generator=generator)[:QUERIES]].sort().values
        # Equal similarities are ordered by chance, the same for all systems.
        order = torch.randperm(len(there), generator=generator)
        relevant = relevant[queries][:, order]
        scores: dict[str, dict[str, Tensor]] = {}
        for name, vectors in track(systems.items(), "match"):
            similarity = similarities(vectors, asked.source.take(queries.numpy()), there.source)
            if similarity is None:
                continue
            ranking = similarity[:, order].nan_to_num(-torch.inf).argsort(dim=1, descending=True, stable=True)
            relevance = relevant.gather(1, ranking)
            scores[name] = ranked_scores(relevance, at=AT) | {"map": _average_precision(relevance)}
        found: list[Row] = []
        share = relevant.double().mean(1)
        for metric, shown in _NAMES.items():
            found += rows_over_samples(
                self.name,
                shown,
                {"search": direction},
                {name: one[metric] for name, one in scores.items()},
                role="judged" if metric in _JUDGED else "detail",
                chance=_chance(share, len(there), int(metric[4:])) if metric.startswith("hit") else None,
                seed=data.seed,
                over=name_of(asked.source.take(queries.numpy()).keys, there.source.keys),
            )
        return found


class _Side:
    """One side of the pairs, each content once: `source` [n] and which of these each pair shows, `numbers` [m]."""

    def __init__(self, source: Source, numbers: Tensor) -> None:
        self.source, self.numbers = source, numbers

    def __len__(self) -> int:
        return len(self.source)

    @classmethod
    def of(cls, source: Source) -> "_Side":
        _, first, numbers = np.unique(source.ids, return_index=True, return_inverse=True)
        return cls(source.take(first), torch.from_numpy(numbers))


def similarities(vectors: Vectors, queries: Source, corpus: Source) -> Tensor | None:
    """How near each sample of the corpus is to each query `[Q, C]`, for this system; None where it cannot say."""
    if vectors.baseline is not None and (own := vectors.baseline.rank(queries, corpus)) is not None:
        return own.float().cpu()
    if not vectors.known:
        return None
    try:
        a, b = (torch.nn.functional.normalize(vectors.of(one).float(), dim=1) for one in (queries, corpus))
    except DataError:  # a system without vectors of one of them
        return None
    return (a @ b.T).cpu() if a.shape[1] == b.shape[1] else None


def _readable(source: Source) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = ~source.reading.unreadable[source.at]
    return found


def _average_precision(relevance: Tensor) -> Tensor:
    places = torch.arange(1, relevance.shape[1] + 1, dtype=torch.float64)
    hits = relevance.double()
    return (hits * hits.cumsum(1) / places).sum(1) / hits.sum(1)


def _chance(share: Tensor, size: int, k: int) -> float:
    """How often a random ranking has one of the right ones, a `share` [Q] of all, among its first k: without them."""
    right = (share * size).round()
    missed = torch.ones_like(share)
    for place in range(min(k, size)):
        missed *= ((size - right - place) / (size - place)).clamp_min(0)
    return float(1 - missed.mean())
