"""Where a map puts samples, how faithful that is, what its clusters are, and what may colour it."""

import sys
import types

import numpy as np
import pytest

from nearfar.errors import DataError, MissingExtra, UnknownName
from nearfar.inspection import projection
from nearfar.inspection.colours import OTHERS, colour_of, tells
from nearfar.inspection.fidelity import fidelity
from nearfar.inspection.map_clusters import clusters_of
from tests.inspection.test_projection import blobs


def test_an_unknown_way_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownName, match="umap"):
        projection.usual_way("umpa")


def test_without_umap_a_map_is_by_tsne_and_umap_is_an_extra(monkeypatch):
    monkeypatch.setattr(projection, "find_spec", lambda name: None)
    assert projection.usual_way() == "tsne"
    with pytest.raises(MissingExtra, match=r"nearfar\[map\]"):
        projection.usual_way("umap")


def test_principal_components_keep_the_widest_direction():
    x = np.random.default_rng(0).normal(size=(50, 6)) * [0.1, 3, 0.1, 0.1, 0.1, 0.1] + [5, 0, 0, 0, 0, 0]
    xy = projection.project(x, seed=0, by="pca")
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert abs(np.corrcoef(xy[:, 0], unit[:, 1])[0, 1]) > 0.99


def test_umap_is_given_exact_neighbours_and_the_seed(monkeypatch):
    asked = {}

    class UMAP:
        def __init__(self, **how):
            asked.update(how)

        def fit_transform(self, rows):
            return asked["init"]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=UMAP))
    vectors, labels = blobs(60)
    xy = projection.project(vectors, seed=7, by="umap")
    near, distances, _ = asked["precomputed_knn"]
    assert (near[:, 0] == np.arange(60)).all()
    assert (labels[near] == labels[:, None]).all()
    assert (np.diff(distances, axis=1) >= -1e-6).all()
    assert asked["random_state"] == 7
    assert asked["n_neighbors"] == near.shape[1] == 15
    assert xy.shape == (60, 2)


def test_beyond_the_limit_rows_are_placed_among_their_nearest(monkeypatch):
    monkeypatch.setitem(projection.MOST, "tsne", 90)
    vectors, labels = blobs(300)
    xy = projection.project(vectors, seed=0)
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=-1) + 9 * np.eye(300)
    assert (labels[distance.argmin(1)] == labels).mean() > 0.98


def test_a_map_that_is_the_data_keeps_all_and_one_at_random_what_chance_does():
    angle = np.random.default_rng(0).uniform(0, 1.5, 200)
    xy = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    found = fidelity(xy, xy)
    assert found.kept > 0.99
    assert found.trustworthiness > 0.999
    shuffled = fidelity(xy, np.random.default_rng(1).permutation(xy))
    assert shuffled.kept < 4 * shuffled.by_chance
    assert shuffled.trustworthiness < 0.7
    assert "trustworthiness" in str(found)


def test_equal_vectors_do_not_break_the_figures_and_few_have_none():
    assert np.isfinite(fidelity(np.ones((40, 3), np.float32), np.full((40, 2), 0.5, np.float32)).kept)
    assert fidelity(np.eye(12, dtype=np.float32), np.zeros((12, 2), np.float32)) is None


def test_clusters_of_a_map_are_its_groups_the_largest_first():
    rng = np.random.default_rng(0)
    parts = [rng.normal(place, 0.02, (count, 2)) for place, count in (((0.1, 0.1), 40), ((0.9, 0.2), 90))]
    found = clusters_of(np.concatenate(parts).astype(np.float32))
    assert (np.bincount(found[found >= 0]) >= [80, 35]).all()
    assert set(found[40:][found[40:] >= 0]) == {0}
    assert (clusters_of(np.zeros((7, 2), np.float32)) == 0).all()


def test_columns_are_classes_or_numbers():
    assert colour_of("a", [1, 2, None, 1]).values == ["1", "2", None, "1"]
    numbers = colour_of("b", [i / 7 for i in range(30)] + [None, float("nan")])
    assert numbers.numbers
    assert numbers.values[-2:] == [None, None]
    many = colour_of("c", [f"name {i % 300}" for i in range(900)] + ["often"] * 9)
    assert len(set(many.values)) == 100
    assert {OTHERS, "often"} <= set(many.values)
    with pytest.raises(DataError, match="'d' is empty"):
        colour_of("d", [None, None])


def test_columns_of_one_value_or_of_texts_are_not_offered():
    assert not tells(["a", "a", None])
    assert not tells([f"text {i}" for i in range(40)])
    assert tells([0.1 * i for i in range(40)])
    assert tells(["train", "test", "test", "train"])
