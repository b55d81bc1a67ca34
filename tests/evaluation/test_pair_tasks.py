"""Similarity and match, on samples whose vectors are given."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from nearfar.contract import Baseline, Source
from nearfar.data.contents import Cells
from nearfar.data.samples import Samples
from nearfar.data.strings import Strings
from nearfar.evaluation import TaskData, Vectors, judge_systems
from nearfar.evaluation.tasks import load


class Points(Source):
    """Samples that are vectors."""

    points: Tensor

    def read(self, row: int) -> Tensor:
        return self.points[self.at[row]]


def source_of(one: Tensor, other: Tensor, scores: Any = None, paired: Any = None) -> Source:
    """Samples [n, d] with their positives [n, d]; those not `paired` have none."""
    count = len(one)
    scored = None if scores is None else np.append(np.asarray(scores, np.float32), np.full(count, np.nan, np.float32))
    points, rows = torch.cat([one, other]), np.arange(2 * count)
    keys = Strings.of([str(i) for i in rows])
    found = Points(Samples(name="points", keys=keys, contents=Cells([""] * len(rows)), rows=rows, scores=scored))
    found.points = points
    found.fetch(np.arange(2 * count))
    places = np.arange(count, 2 * count)
    if paired is not None:
        places = np.where(paired, places, np.arange(count))
    return found.with_partners(count, np.append(places, np.arange(count, 2 * count)), None)


def vectors_of(source: Source, change: Any = lambda x: x, **more: Any) -> Vectors:
    def embed(some: Source) -> Tensor:
        found: Tensor = change(source.points[some.at])  # type: ignore[attr-defined]
        return found

    return Vectors(embed(source), embed(source), embed=embed, **more)


def rows_of(task: str, systems: Any, test: Source) -> dict[tuple[str, str, str], Any]:
    found = judge_systems(systems, TaskData(test=test), load([task]))
    return {(row.system, row.metric, str(row.setting.get("search", ""))): row for row in found.rows}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_cosines_of_pairs_with_a_score_are_ranked_by_their_scores():
    one, other = normal(40, 5), normal(40, 5, seed=1)
    scores = torch.cosine_similarity(one, other) + 0.3 * normal(40, seed=2)
    scores[3] = torch.nan
    test = source_of(one, other, scores, paired=np.arange(40) != 5)
    kept = [i for i in range(40) if i not in (3, 5)]
    found = rows_of("similarity", {"worse": vectors_of(test, lambda x: x[:, :2]), "ours": vectors_of(test)}, test)
    expected = spearmanr(torch.cosine_similarity(one, other)[kept], scores[kept])[0]
    assert found["ours", "Spearman", ""].value.mean == pytest.approx(expected)
    lead = found["worse", "Spearman", ""].lead
    assert lead.mean == pytest.approx(expected - found["worse", "Spearman", ""].value.mean)
    assert found["worse", "Spearman", ""].influence.shape == (40,)
    assert found["ours", "Pearson", ""].role == "shown"


def test_where_pairs_judge_views_do_not_and_nothing_is_said_of_accuracy():
    one = normal(40, 5)
    test = source_of(one, one + 0.5 * normal(40, 5, seed=1), np.arange(40))
    views = {"ours": (one, one)}
    found = judge_systems(
        {"ours": vectors_of(test)}, TaskData(test=test, views=views), load(["similarity", "label_free"])
    )
    assert not [row for row in found.rows if row.metric == "view retrieval"]
    assert "accuracy" not in str(found.verdict())


class Own(Baseline):
    name = "own"

    def similarity(self, one: Source, other: Source) -> Tensor:
        return torch.arange(len(one)).float()

    def rank(self, queries: Source, corpus: Source) -> Tensor:
        return torch.from_numpy(queries.at[:, None] % 20 == corpus.at % 20).float()


def test_a_baseline_may_answer_itself_and_one_that_cannot_takes_no_part():
    test = source_of(normal(20, 5), normal(20, 5, seed=1), np.arange(20))
    systems = {"own": Vectors(None, baseline=Own()), "none": Vectors(None, baseline=Baseline()), "us": vectors_of(test)}
    found = rows_of("similarity", systems, test)
    assert found["own", "Spearman", ""].value.mean == 1
    assert not [key for key in found if key[0] == "none"]
    pairs = source_of(normal(20, 5), normal(20, 5, seed=1))
    found = rows_of("match", {**systems, "us": vectors_of(pairs)}, pairs)
    assert {row.value.mean for key, row in found.items() if key[0] == "own"} == {1}
    assert not [key for key in found if key[0] == "none"]


FORTH, BACK = "sample to positive", "positive to sample"


def test_each_sample_finds_its_positive_among_those_of_all():
    one = normal(12, 3)
    test = source_of(one, one + 0.8 * normal(12, 3, seed=1))
    found = rows_of("match", {"ours": vectors_of(test)}, test)
    a, b = (torch.nn.functional.normalize(x, dim=1) for x in (test.points[:12], test.points[12:]))  # type: ignore[attr-defined]
    for direction, similarity in ((FORTH, a @ b.T), (BACK, b @ a.T)):
        place = (similarity >= similarity.diagonal()[:, None]).sum(1)
        for k in (1, 5, 10):
            row = found["ours", f"recall@{k}", direction]
            assert row.value.mean == pytest.approx((place <= k).double().mean().item())
            assert row.chance == pytest.approx(k / 12)
        assert found["ours", "MRR", direction].value.mean == pytest.approx((1 / place).mean().item())


def test_all_that_is_paired_with_equal_content_is_right():
    one, other = normal(6, 3), normal(6, 3, seed=1)
    one[1] = one[0]  # a sample with two positives
    other[5] = other[4]  # a positive of two samples
    test = source_of(one, other)
    found = rows_of("match", {"ours": vectors_of(test)}, test)
    assert found["ours", "recall@1", FORTH].value.count == 5
    assert found["ours", "recall@1", BACK].value.count == 5
    two_of_five, one_of_five = 2 / 5, 1 / 5
    assert found["ours", "recall@1", FORTH].chance == pytest.approx((two_of_five + 4 * one_of_five) / 5)
    perfect = Vectors(one, one, embed=lambda some: torch.eye(5)[pair_of(some)])
    found = rows_of("match", {"perfect": perfect}, test)
    assert found["perfect", "recall@1", FORTH].value.mean == 1


def pair_of(some: Source) -> Tensor:
    """Rows and positives of a pair get the same number; pairs that share something, too."""
    return torch.tensor([{1: 0, 5: 4}.get(place % 6, place % 6) for place in some.at]) % 5


def test_an_unreadable_pair_is_left_out():
    test = source_of(normal(8, 3), normal(8, 3, seed=1))
    test.reading.refuse(9, "broken")
    found = rows_of("match", {"ours": vectors_of(test)}, test)
    assert found["ours", "recall@1", FORTH].value.count == 7


def test_pairs_with_scores_are_not_matched_and_others_have_no_similarity():
    scored = TaskData(test=source_of(normal(12, 3), normal(12, 3, seed=1), np.arange(12)))
    plain = TaskData(test=source_of(normal(12, 3), normal(12, 3, seed=1)))
    similarity, match = load(["similarity", "match"])
    assert (similarity.applies(scored), match.applies(scored)) == (True, False)
    assert (similarity.applies(plain), match.applies(plain)) == (False, True)
    assert not similarity.applies(TaskData())
    assert not match.applies(TaskData())
