"""Projections: finite points in the unit square; even samples."""

import numpy as np
import pytest

from nearfar.errors import ConfigError, DataError
from nearfar.inspection.projection import project, sample_evenly


def blobs(n, classes=3, d=16, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return (4 * rng.normal(size=(classes, d))[labels] + 0.3 * rng.normal(size=(n, d))).astype(np.float32), labels


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("d", [1, 2, 7])
def test_few_points_lie_in_the_unit_square(n, d):
    xy = project(np.random.default_rng(n).normal(size=(n, d)), seed=0)
    assert xy.shape == (n, 2)
    assert xy.dtype == np.float32
    assert np.isfinite(xy).all()
    assert ((xy >= 0) & (xy <= 1)).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
def test_equal_vectors_share_the_centre(value):
    assert (project(np.full((12, 5), value), seed=0) == 0.5).all()


def test_many_equal_rows_among_others_stay_finite():
    vectors, _ = blobs(60)
    vectors[:40] = vectors[0]
    assert np.isfinite(project(vectors, seed=0)).all()


def test_the_longer_side_fills_the_square():
    xy = project(blobs(60)[0], seed=0)
    assert np.ptp(xy, axis=0).max() == pytest.approx(1, abs=1e-6)


def test_the_same_seed_gives_the_same_map():
    vectors, _ = blobs(50)
    assert np.array_equal(project(vectors, seed=3), project(vectors, seed=3))


@pytest.mark.parametrize("seed", [2**32, 2**63 - 1])
def test_any_seed_of_a_run_makes_a_map(seed):
    assert np.isfinite(project(np.eye(3), seed=seed)).all()
    assert np.isfinite(project(np.eye(6), seed=seed)).all()


def test_groups_far_apart_stay_apart_on_the_map():
    vectors, labels = blobs(150)
    xy = project(vectors, seed=0)
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=-1) + np.eye(len(xy))
    assert (labels[distance.argmin(1)] == labels).all()


def test_a_row_that_is_not_finite_is_named():
    vectors, _ = blobs(8)
    vectors[5, 1] = np.nan
    with pytest.raises(DataError, match="Row 5 of the embeddings is not finite"):
        project(vectors, seed=0)


@pytest.mark.parametrize(("n", "limit"), [(10, 10), (10, 11), (11, 10), (1000, 7), (5, 1), (0, 3)])
def test_samples_are_distinct_sorted_and_within_the_limit(n, limit):
    chosen = sample_evenly(n, limit, seed=0)
    assert len(chosen) == min(n, limit)
    assert (np.diff(chosen) > 0).all()
    assert all(0 <= i < n for i in chosen)


def test_each_stretch_gives_one_sample():
    chosen = sample_evenly(1000, 10, seed=5)
    assert (chosen // 100).tolist() == list(range(10))


def test_a_limit_below_one_is_refused():
    with pytest.raises(ConfigError, match=r"limit must be >= 1, got 0\."):
        sample_evenly(10, 0, seed=0)
