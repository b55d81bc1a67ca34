"""Closest pairs and strangest samples against a float64 loop."""

import itertools

import numpy as np
import pytest

from nearfar.errors import ConfigError, DataError
from nearfar.inspection import outliers


def by_hand(vectors, pairs, strange, k):
    unit = vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosine = unit @ unit.T
    n = len(unit)
    closest = sorted(itertools.combinations(range(n), 2), key=lambda p: -cosine[p])[:pairs]
    near = [np.mean(sorted((cosine[i, j] for j in range(n) if j != i), reverse=True)[:k]) for i in range(n)]
    return [(i, j, cosine[i, j]) for i, j in closest], sorted(((i, near[i]) for i in range(n)), key=lambda s: s[1])[
        :strange
    ]


def test_equals_the_loop():
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    found = outliers.find(vectors, pairs=15, strange=6, k=5)
    closest, strangest = by_hand(vectors, 15, 6, 5)
    assert [(i, j) for i, j, _ in found.closest] == [(i, j) for i, j, _ in closest]
    assert [c for *_, c in found.closest] == pytest.approx([c for *_, c in closest], abs=1e-6)
    assert [i for i, _ in found.strangest] == [i for i, _ in strangest]
    assert [c for _, c in found.strangest] == pytest.approx([c for _, c in strangest], abs=1e-6)
    assert found.examined == 60


def test_a_planted_duplicate_comes_first():
    vectors = np.random.default_rng(1).normal(size=(300, 16))
    vectors[250] = 3 * vectors[17]
    i, j, cosine = outliers.find(vectors).closest[0]
    assert (i, j) == (17, 250)
    assert cosine == pytest.approx(1, abs=1e-6)


def test_all_pairs_of_a_clique_are_found():
    vectors = np.random.default_rng(2).normal(size=(100, 32))
    clique = [3, 20, 41, 42, 77, 99]
    vectors[clique] = vectors[3] + 1e-3 * vectors[clique]
    found = outliers.find(vectors, pairs=15)
    assert {(i, j) for i, j, _ in found.closest} == set(itertools.combinations(clique, 2))


def test_a_collapsed_embedding_gives_each_pair_once():
    found = outliers.find(np.ones((50, 4)), pairs=30)
    pairs = [(i, j) for i, j, _ in found.closest]
    assert len(set(pairs)) == 30
    assert all(i < j for i, j in pairs)
    assert all(cosine <= 1 for *_, cosine in found.closest)


def test_a_lone_direction_is_the_strangest():
    vectors = np.tile([1.0, 0.1, 0.0], (20, 1)) + 0.01 * np.random.default_rng(0).normal(size=(20, 3))
    vectors[13] = [0, 0, -1]
    assert outliers.find(vectors).strangest[0][0] == 13


def test_beyond_the_limit_indices_are_those_of_the_whole():
    vectors = np.random.default_rng(3).normal(size=(500, 4))
    found = outliers.find(vectors, limit=50)
    assert found.examined == 50
    assert max(max(i, j) for i, j, _ in found.closest) > 50
    i, j, cosine = found.closest[0]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert cosine == pytest.approx(unit[i] @ unit[j], abs=1e-5)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_rows_give_few_pairs(n):
    found = outliers.find(np.eye(3)[:n])
    assert len(found.closest) == n * (n - 1) // 2
    assert len(found.strangest) == (n if n > 1 else 0)


def test_a_row_that_is_not_finite_is_named():
    with pytest.raises(DataError, match="Row 1 of the embeddings is not finite"):
        outliers.find(np.array([[1.0, 0], [np.inf, 0]]))


def test_k_below_one_is_refused():
    with pytest.raises(ConfigError, match=r"k must be >= 1, got 0\."):
        outliers.find(np.eye(3), k=0)
