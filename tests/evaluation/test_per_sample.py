"""What test samples add to figures: written, read back, and taken for the same samples only where they are."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from nearfar.evaluation import Evaluation, judge_systems
from nearfar.evaluation.per_sample import FILE, load, name_of, same, save
from nearfar.evaluation.tasks import load as tasks_of
from tests.evaluation.systems import blobs, data_of


class Named:
    """Samples of which the keys are all that is known."""

    scores = positives = relation = None

    def __init__(self, keys):
        self.keys = keys

    def __len__(self):
        return len(self.keys)

    def take(self, rows):
        return Named([self.keys[row] for row in rows])

    def matched(self):
        return None

    def named(self, classes):
        return None


def sources(train=160, test=120):
    return {"train": Named([f"train/{i}" for i in range(train)]), "test": Named([f"test/{i}" for i in range(test)])}


@pytest.fixture(scope="module")
def judged():
    data = replace(data_of(few=(5,), draws=4), **sources())
    return judge_systems({"untrained encoder": blobs(2.0), "trained encoder": blobs(1.0)}, data)


def test_it_is_read_back_as_written(judged, tmp_path):
    save(tmp_path, judged)
    found = load(tmp_path, judged)
    rows = {row.key: row for row in judged.rows if row.system == "trained encoder" and row.over is not None}
    assert found.keys() == rows.keys()
    assert len(found) >= 7
    for key, row in rows.items():
        assert found[key].over == row.over
        torch.testing.assert_close(found[key].influence, row.influence.double(), rtol=1e-3, atol=1e-5)
        assert (found[key].by_draw is None) == (row.setting.get("labels per class") != 5)


def test_influences_give_the_error_of_the_figure(judged, tmp_path):
    save(tmp_path, judged)
    row = judged.find("accuracy", probe="linear", labels_per_class="all")
    moved = load(tmp_path, judged)[row.key].influence
    assert float(moved.sum()) == pytest.approx(0, abs=1e-3)
    assert float(moved.square().sum()) ** 0.5 == pytest.approx(row.value.error, rel=0.02)


def test_draws_are_kept_with_their_values(judged, tmp_path):
    save(tmp_path, judged)
    row = judged.find("accuracy", probe="kNN", labels_per_class=5)
    draws = load(tmp_path, judged)[row.key].by_draw
    assert len(draws) == 4
    assert float(draws.mean()) == pytest.approx(row.value.mean)


def test_what_is_stored_as_json_is_as_it_was(judged):
    again = Evaluation.from_json(json.loads(json.dumps(judged.to_json())))
    assert again.rows == judged.rows
    assert not {"influence", "by_draw", "over"} & judged.to_json()["rows"][0].keys()


def test_that_of_another_evaluation_is_not_taken(judged, tmp_path):
    save(tmp_path, judged)
    rows = [replace(row, value=replace(row.value, mean=row.value.mean + 0.01)) for row in judged.rows]
    assert load(tmp_path, replace(judged, rows=rows)) == {}


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_missing_or_damaged_file_is_as_none(judged, tmp_path, content):
    assert load(tmp_path, judged) == {}
    (tmp_path / FILE).write_bytes(content)
    assert load(tmp_path, judged) == {}


def test_it_stays_small(judged, tmp_path):
    save(tmp_path, judged)
    figures = len(load(tmp_path, judged))
    assert (tmp_path / FILE).stat().st_size < figures * (2 * 120 + 500)


def test_names_tell_samples_labels_and_order_apart():
    names = [
        name_of(["a", "b"]),
        name_of(["b", "a"]),
        name_of(["ab"]),
        name_of(["a", "b"], ["x", "y"]),
        name_of("abxy"),
    ]
    assert len(set(names)) == len(names)
    assert name_of(["a", "b"]) == names[0]


def test_samples_are_the_same_only_with_the_same_draws(judged, tmp_path):
    save(tmp_path, judged)
    found = load(tmp_path, judged)
    few = next(one for one in found.values() if one.by_draw is not None)
    whole = next(one for one in found.values() if one.by_draw is None)
    assert same(few, few)
    assert same(whole, whole)
    assert not same(few, whole)
    assert not same(few, replace(few, over="others"))
    assert not same(few, replace(few, by_draw=few.by_draw[:2]))
    assert not same(few, None)


def test_another_seed_draws_other_labels_on_the_same_samples():
    names = []
    for seed in (0, 1):
        data = replace(data_of(few=(5,), draws=2, seed=seed), **sources())
        found = judge_systems({"trained encoder": blobs(1.0)}, data, tasks_of(["classify"]))
        names.append({row.setting["labels per class"]: row.over for row in found.rows})
    assert names[0]["all"] == names[1]["all"]
    assert names[0][5] != names[1][5]


def test_without_samples_at_hand_nothing_is_named():
    found = judge_systems({"trained encoder": blobs(1.0)}, data_of(few=()))
    assert {row.over for row in found.rows} == {None}


def test_figures_of_the_runs_own_views_are_not_named():
    views = {"trained encoder": (blobs(1.0).train, blobs(1.1).train)}
    found = judge_systems(
        {"trained encoder": blobs(1.0)}, replace(data_of(), **sources(), test_labels=None, views=views)
    )
    row = found.find("view retrieval")
    assert row is not None
    assert row.over is None
    assert np.isfinite(row.value.mean)
