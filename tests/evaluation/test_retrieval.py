import math

import pytest
import torch

from nearfar.errors import DataError
from nearfar.evaluation.retrieval import ranked_scores, retrieve


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_scores_of_a_known_ranking():
    """Relevance 0 1 1 0 0 1 0 1, R = 4: values worked out from the definitions."""
    scores = ranked_scores(torch.tensor([[0, 1, 1, 0, 0, 1, 0, 1]]).bool(), at=(1, 5))
    want = {
        "precision@1": 0.0,
        "hit@1": 0.0,
        "recall@1": 0.0,
        "ndcg@1": 0.0,
        "hit@5": 1.0,
        "recall@5": 0.5,
        "ndcg@5": 0.44149241373678083,
        "r_precision": 0.5,
        "map@r": 0.29166666666666663,
        "mrr": 0.5,
    }
    assert {name: float(value) for name, value in scores.items()} == pytest.approx(want, abs=1e-12)


def by_hand(vectors, labels, k):
    """One query at a time, in float64, from the definitions."""
    x = vectors.double() / vectors.double().norm(dim=1, keepdim=True)
    rows = []
    for i in range(len(x)):
        others = sorted((j for j in range(len(x)) if j != i), key=lambda j: -float(x[i] @ x[j]))
        relevant = [int(labels[j] == labels[i]) for j in others]
        total = sum(relevant)
        if not total:
            continue
        gain = sum(r / math.log2(p + 2) for p, r in enumerate(relevant[:k]))
        rows.append(
            {
                "precision@1": relevant[0],
                f"hit@{k}": int(any(relevant[:k])),
                f"recall@{k}": sum(relevant[:k]) / total,
                f"ndcg@{k}": gain / sum(1 / math.log2(p + 2) for p in range(min(k, total))),
                "r_precision": sum(relevant[:total]) / total,
                "map@r": sum(sum(relevant[: p + 1]) / (p + 1) * relevant[p] for p in range(total)) / total,
                "mrr": 1 / (relevant.index(1) + 1),
            }
        )
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


@pytest.mark.parametrize("k", [3, 50])
def test_equals_the_definitions(k):
    x = random(40, 5)
    labels = torch.tensor([i % 6 for i in range(39)] + [99])
    found = retrieve(x, labels, at=(k,))
    assert found.means() == pytest.approx(by_hand(x, labels, k), abs=1e-9)
    assert (found.queries, found.skipped, found.gallery) == (39, 1, 40)


def test_a_gallery_is_searched_whole():
    x = random(20, 4)
    found = retrieve(x, torch.arange(20), x + 0.001, torch.arange(20))
    assert found.means()["precision@1"] == 1
    assert found.means()["mrr"] == 1


def test_a_constant_embedding_scores_what_chance_does():
    labels = torch.arange(10).repeat_interleave(100)
    means = retrieve(torch.ones(1000, 3), labels).means()
    assert means["precision@1"] == pytest.approx(99 / 999, abs=0.06)
    assert means["r_precision"] == pytest.approx(99 / 999, abs=0.02)


def test_half_of_tied_gallery_being_right_scores_half():
    gallery = torch.ones(2, 2)
    found = retrieve(torch.ones(4000, 2), torch.zeros(4000), gallery, torch.tensor([0, 1]), limit=4000)
    assert found.means()["precision@1"] == pytest.approx(0.5, abs=0.15)


def test_queries_are_limited_and_the_gallery_is_not():
    found = retrieve(random(300, 4), torch.arange(300) % 3, limit=50)
    assert (found.queries, found.gallery) == (50, 300)


def test_same_seed_same_scores():
    a, b = (retrieve(torch.ones(60, 3), torch.arange(60) % 3) for _ in range(2))
    assert all(torch.equal(a.scores[name], b.scores[name]) for name in a.scores)


def test_unlabelled_samples_are_relevant_to_nothing():
    found = retrieve(random(6, 3), torch.tensor([0, 0, -1, -1, -1, 0]))
    assert (found.queries, found.skipped) == (3, 3)


def test_nothing_to_find_is_explained():
    with pytest.raises(DataError, match="No query has a sample of its own label"):
        retrieve(random(4, 3), torch.arange(4))


def test_widths_must_agree():
    with pytest.raises(DataError, match="must be equally wide"):
        retrieve(random(4, 3), torch.arange(4), random(4, 2), torch.arange(4))
