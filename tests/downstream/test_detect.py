"""Rows of detectors over the same pictures, and what is written of them."""

import numpy as np
import pytest

from nearfar.downstream.coco_results import CocoResults
from nearfar.downstream.detect import TASK, Detected, rows_of
from nearfar.errors import DataError, OutputError


def detected(seed, noise, pictures=10):
    rng = np.random.default_rng(seed)
    given, true = [], []
    for _ in range(pictures):
        corners = rng.uniform(0, 50, (2, 2))
        truth = np.concatenate([corners, corners + 30], 1)
        labels = rng.integers(0, 2, 2)
        near = truth + np.random.default_rng(seed + 1).normal(0, noise, truth.shape)
        given.append([[*box, score, int(k)] for box, score, k in zip(near.tolist(), (0.9, 0.4), labels, strict=True)])
        true.append([[*box, int(k), 0.0] for box, k in zip(truth.tolist(), labels, strict=True)])
    return Detected(list(range(pictures)), given, true, ["cow", "hen"])


def test_a_nearer_detector_is_ahead():
    rows = rows_of({"a": [detected(0, 6)], "b": [detected(0, 0.5)]}, {"labels": "all"}, task="fine-tuning")
    first = next(row for row in rows if row.metric == "mAP" and row.system == "a")
    assert first.outcome == "ahead"
    exact = rows_of({"b": [detected(0, 0)]}, {}, task="t")
    assert [row.value.mean for row in exact if row.metric in ("mAP", "mAP50")] == pytest.approx([1, 1])
    assert {row.metric for row in rows if row.role == "detail"} == {"AP of cow", "AP of hen"}


def test_what_is_written_is_read_back_and_what_is_not_is_refused():
    one = detected(0, 3)
    assert TASK.judged(one.to_json()).given == one.given
    for wrong in ({"given": []}, {"more": 1}, {"true": [[[1, 2]]] * 10}):
        with pytest.raises(DataError, match="cannot be read"):
            TASK.judged({**one.to_json(), **wrong})


def test_pictures_without_ids_are_numbered(tmp_path):
    import json

    writer = CocoResults(tmp_path / "boxes.json", {"cow": 4}, least=0.5)
    record = {"boxes": [[1, 2, 3, 4]], "labels": ["cow"], "scores": [0.7], "width": 9, "height": 9, "image_id": None}
    with writer.writing() as write:
        write([{"key": "a.png", **record}, {"key": "b.png", **record, "image_id": 44}])
    found = json.loads((tmp_path / "boxes.json").read_text())
    assert [one["image_id"] for one in found] == [1, 44]
    assert found[0]["file_name"] == "a.png"
    assert writer.count(record) == ["cow"]
    with pytest.raises(OutputError, match="is there already"):
        writer.check()
