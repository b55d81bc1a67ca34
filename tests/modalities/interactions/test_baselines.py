"""Baselines of recommendation: EASE is its closed form whichever side is smaller, the others count."""

import numpy as np
import pytest

from nearfar.modalities.interactions.baselines import EASE, ItemKNN, Popularity
from tests.modalities.interactions.test_source import opened, table


@pytest.mark.parametrize("shape", [(8, 5), (5, 8)])
def test_ease_is_the_ridge_regression_without_a_diagonal(shape):
    had = (np.random.default_rng(0).random(shape) < 0.5).astype(np.float32)
    inverse = np.linalg.inv(had.T @ had + 3 * np.eye(shape[1]))
    weights = -inverse / inverse.diagonal()
    np.fill_diagonal(weights, 0)
    np.testing.assert_allclose(EASE().scores(had, 3), had @ weights, atol=1e-5, rtol=1e-4)


def test_neighbours_are_the_nearest_items_by_cosine():
    had = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]], dtype=np.float32)
    cosines = (had.T @ had) / np.sqrt(np.outer(had.sum(0), had.sum(0)))
    np.fill_diagonal(cosines, 0)
    np.testing.assert_allclose(ItemKNN().scores(had, 9), had @ cosines, atol=1e-6)
    nearest = np.where(cosines >= cosines.max(axis=0), cosines, 0)
    np.testing.assert_allclose(ItemKNN().scores(had, 1), had @ nearest, atol=1e-6)


def test_they_rank_the_items_of_the_training_part_for_its_users(tmp_path):
    source = opened(table(tmp_path))
    train = source.take(source.split(0)[0])
    for baseline in (Popularity(), ItemKNN(), EASE()):
        baseline.fit(train)
        found = baseline.rank(train.relation.queries.take(np.array([4, 1])), train.relation.answers)
        assert found.shape == (2, 8)
        assert found.isfinite().all()
    assert (found != 0).any()
