"""Recommend: does a query find what it joins in the test part among all answers that it has not had?"""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.contract import Relation, Source
from nearfar.errors import DataError
from nearfar.evaluation.intervals import figure
from nearfar.evaluation.knn import unit_rows
from nearfar.evaluation.per_sample import name_of
from nearfar.evaluation.task import Listing, Row, Systems, Task, TaskData, Vectors, rows_over_samples
from nearfar.progress import track

PLACES = (10, 20)
_SCORES = 2**24
"""Scores that are made at a time."""
_EXAMPLES, _SHOWN = 5, 6

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class _Found:
    """What a system puts first for each of M queries: `best` [M, k], and the values of each measure [M]."""

    best: Rows
    values: dict[str, Tensor]


class Recommend(Task):
    """All answers of the training part are ranked for each query; those that it had there are left out."""

    name = "recommend"
    meanings = MappingProxyType(
        {
            "recall@10": "The share of what a user has in the test part that is among the first 10.",
            "recall@20": "The share of what a user has in the test part that is among the first 20.",
            "NDCG@10": "As NDCG@20, of the first 10.",
            "NDCG@20": "What is right among the first 20 counts 1 / log2(place + 1), as a share of what it could be.",
            "MRR": "One over the place of the first right one, averaged.",
            "coverage@20": "The share of all items that are among the first 20 of any user.",
            "popularity@20": "The share of the users who had it, of the mean item among the first 20: higher is "
            "more of what all know.",
        }
    )

    def applies(self, data: TaskData) -> bool:
        """Whether both parts join queries and answers, and a query of the test part stands in the training part."""
        if data.train is None or data.test is None:
            return False
        train, test = data.train.relation, data.test.relation
        if train is None or test is None:
            return False
        if not len(_Truth(train, test).queries):
            data.note("No recommendation: no user of the test part stands in the training part.")
            return False
        return True

    def protocol(self, data: TaskData) -> str:
        """What is ranked, for whom, and what was held out."""
        truth = _of(data)
        answers, queries = len(truth.train.answers), len(truth.queries)
        return (
            f"Recommendation: held out is {truth.held_out}; all {answers} items of the training "
            f"part are ranked for each of {queries} users, by cosine where vectors rank, without those that it had "
            "there; nothing is sampled, and items that the training part does not have count as missed; 95 % intervals "
            "by bootstrap over users."
        )

    def run(self, systems: Systems, data: TaskData) -> list[Row]:
        """Recall and NDCG are judged; coverage and how popular recommendations are stand beside them."""
        truth = _of(data)
        if truth.strangers:
            data.note(f"{truth.strangers} users of the test part are not in the training part: they are left out.")
        if truth.unknown:
            data.note(
                f"{truth.unknown} of {truth.total} interactions of the test part are with items that the training part "
                "does not have: no system can find them."
            )
        found: dict[str, _Found] = {}
        for name, vectors in track(systems.items(), "recommend"):
            if (one := _ranked(vectors, truth)) is not None:
                found[name] = one
        rows: list[Row] = []
        most, answers = PLACES[-1], len(truth.train.answers)
        for metric in (f"recall@{most}", f"NDCG@{most}", f"recall@{PLACES[0]}", f"NDCG@{PLACES[0]}", "MRR"):
            rows += rows_over_samples(
                self.name,
                metric,
                {},
                {name: one.values[metric] for name, one in found.items()},
                chance=most / answers if metric == f"recall@{most}" else None,
                role="judged" if metric.endswith(f"@{most}") else "detail",
                seed=data.seed,
                over=truth.over,
            )
        share = np.bincount(truth.train.answer, minlength=answers) / len(truth.train.queries)
        for metric in (f"coverage@{most}", f"popularity@{most}"):
            for name, one in found.items():
                covered = len(np.unique(one.best)) / answers
                value = covered if metric.startswith("coverage") else float(share[one.best].mean())
                interval = figure(value, len(one.best))
                rows.append(Row(name, self.name, metric, {}, interval, higher_is_better=None, role="shown"))
        data.listings.append(_examples(list(found.values())[-1], truth))
        return rows


class _Truth:
    """What queries of the test part are to find: `queries` [M], as the training part numbers them, and `right` of each.

    `own` says that the test part was given, and `held_out` what it is. `unknown` of all `total` test samples are of
    answers that the training part does not have, and `strangers` are the queries that it does not have.
    """

    def __init__(self, train: Relation, test: Relation, *, own: bool = False) -> None:
        self.train = train
        self.held_out = "a test part that was given" if own else train.held_out
        numbers = [{key: i for i, key in enumerate(side.keys)} for side in (train.queries, train.answers)]
        query, answer = (
            np.array([number.get(key, -1) for key in side.keys], dtype=np.int64)[at]
            for number, side, at in zip(numbers, (test.queries, test.answers), (test.query, test.answer), strict=True)
        )
        self.strangers = len(np.unique(test.query[query < 0]))
        query, answer = query[query >= 0], answer[query >= 0]
        self.total, self.unknown = len(query), int((answer < 0).sum())
        self.queries, at = np.unique(query, return_inverse=True)
        order = np.argsort(at.reshape(-1), kind="stable")
        self.right = np.split(answer[order], np.cumsum(np.bincount(at.reshape(-1)))[:-1])
        order = np.argsort(train.query, kind="stable")
        bounds = np.searchsorted(train.query[order], np.arange(len(train.queries) + 1))
        self.had = [train.answer[order[bounds[q] : bounds[q + 1]]] for q in self.queries.tolist()]

    @property
    def over(self) -> str:
        """Names the queries and what they are to find."""
        keys = self.train.answers.keys
        wanted = (keys[answer] if answer >= 0 else "" for right in self.right for answer in right.tolist())
        return name_of([self.train.queries.keys[query] for query in self.queries.tolist()], wanted)


def _of(data: TaskData) -> _Truth:
    train, test = (None if part is None else part.relation for part in (data.train, data.test))
    if train is None or test is None:
        raise DataError("There is nothing to recommend: the samples of both parts must join queries and answers.")
    assert data.train is not None
    assert data.test is not None
    return _Truth(train, test, own=data.train.whole is not data.test.whole)


def _ranked(vectors: Vectors, truth: _Truth) -> _Found | None:
    """What a system puts first; None of a baseline that takes no part."""
    answers, step = len(truth.train.answers), max(1, _SCORES // len(truth.train.answers))
    sides: tuple[Tensor, Tensor] | None = None
    best, values = [], []
    for start in range(0, len(truth.queries), step):
        rows = truth.queries[start : start + step]
        scores = None
        if vectors.baseline is not None:
            scores = vectors.baseline.rank(truth.train.queries.take(rows), truth.train.answers)
            if scores is None and not vectors.known:
                return None
        if scores is None:
            if sides is None:
                every = (truth.train.queries, truth.train.answers)
                sides = (unit_rows(vectors.of(every[0]).float()), unit_rows(vectors.of(every[1]).float()))
            scores = sides[0][torch.from_numpy(rows)] @ sides[1].T
        scores = scores.float().clone()
        for i, had in enumerate(truth.had[start : start + step]):
            scores[i, had] = -torch.inf
        k = min(PLACES[-1], answers)
        some = scores.topk(k, dim=1).indices.numpy()
        best.append(some)
        right = truth.right[start : start + step]
        values += [_values(some[i], right[i], scores[i].numpy()) for i in range(len(rows))]
    names = values[0].keys()
    return _Found(np.concatenate(best), {name: torch.tensor([one[name] for one in values]) for name in names})


def _values(best: Rows, right: Rows, scores: NDArray[np.float32]) -> dict[str, float]:
    """The measures of one query: `best` [k] are put first, and `right` are to be found, -1 where nobody could."""
    hits = np.isin(best, right)
    gains = 1 / np.log2(np.arange(len(best)) + 2)
    found = {}
    for k in PLACES:
        found[f"recall@{k}"] = float(hits[:k].sum()) / len(right)
        found[f"NDCG@{k}"] = float((hits * gains)[:k].sum() / gains[: min(k, len(right))].sum())
    known = right[right >= 0]
    first = 0.0
    if len(known):
        top = scores[known].max()
        # Of equal scores, the mean place.
        first = 1 / (1 + float((scores > top).sum()) + (float((scores == top).sum()) - 1) / 2)
    return found | {"MRR": first}


def _examples(found: _Found, truth: _Truth) -> Listing:
    """What a few queries had, and what is put first for them."""
    step = max(1, len(truth.queries) // _EXAMPLES)
    keys, lines = truth.train.answers.keys, []
    for i in range(0, len(truth.queries), step)[:_EXAMPLES]:
        query = int(truth.queries[i])
        right = set(truth.right[i].tolist())
        gets = [f"{keys[j]}{' (right)' if j in right else ''}" for j in found.best[i, :_SHOWN].tolist()]
        lines.append([truth.train.queries.keys[query], _had(truth.train.queries, query), "; ".join(gets)])
    return Listing("What a few users had, and what is recommended to them", ["user", "had last", "gets"], lines)


def _had(queries: Source, query: int) -> str:
    text = queries.cards(np.array([query]))[0].text or ""
    return "; ".join(text.split("\n")[:_SHOWN])
