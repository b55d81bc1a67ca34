"""Average precision against a plain loop, and against the code that everyone uses."""

import contextlib
import io

import numpy as np
import pytest
import torch

from nearfar.evaluation.average_precision import THRESHOLDS, iou, matched


def drawn(seed, pictures=6):
    """Random true boxes, and given ones near some of them and elsewhere; some crowds."""
    rng = np.random.default_rng(seed)
    given, true = [], []
    for _ in range(pictures):
        truth = rng.uniform(0, 60, (rng.integers(0, 5), 4))
        truth[:, 2:] = truth[:, :2] + rng.uniform(8, 40, (len(truth), 2))
        near = truth[rng.integers(0, len(truth), 6)] + rng.normal(0, 4, (6, 4)) if len(truth) else np.empty((0, 4))
        other = rng.uniform(0, 60, (4, 4))
        other[:, 2:] = other[:, :2] + rng.uniform(5, 40, (4, 2))
        boxes = np.concatenate([near, other])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        given.append((boxes, np.round(rng.uniform(0, 1, len(boxes)), 1)))  # with equal scores
        true.append((truth, rng.uniform(size=len(truth)) < 0.15))
    return given, true


def by_hand(given, true, threshold, times):
    """The protocol step by step, pictures repeated as often as they count."""
    scored, wanted = [], 0
    for (boxes, scores), (truth, crowd), count in zip(given, true, times, strict=True):
        for _ in range(count):
            wanted += int((~crowd).sum())
            taken = set()
            for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
                best, found = threshold, None
                for j in range(len(truth)):
                    if j in taken or crowd[j]:
                        continue
                    overlap = iou(boxes[i : i + 1], truth[j : j + 1], np.array([False]))[0, 0]
                    if overlap >= best:
                        best, found = overlap, j
                if found is not None:
                    taken.add(found)
                    scored.append((scores[i], True))
                elif not any(
                    crowd[j] and iou(boxes[i : i + 1], truth[j : j + 1], np.array([True]))[0, 0] >= threshold
                    for j in range(len(truth))
                ):
                    scored.append((scores[i], False))
    scored.sort(key=lambda one: -one[0])
    hits, points = 0, []
    for place, (_, right) in enumerate(scored, start=1):
        hits += right
        points.append((hits / wanted, hits / place))
    total = 0.0
    for recall in np.linspace(0, 1, 101):
        total += max((precision for reached, precision in points if reached >= recall), default=0.0)
    return total / 101


@pytest.mark.parametrize("seed", range(3))
def test_it_is_that_of_the_protocol_step_by_step(seed):
    given, true = drawn(seed)
    ones = torch.ones(1, len(given))
    found = matched(given, true).precision(ones)[0]
    expected = [by_hand(given, true, threshold, [1] * len(given)) for threshold in THRESHOLDS]
    assert found.tolist() == pytest.approx(expected, abs=0.02)  # equal scores have no order of their own


def test_weights_count_pictures_more_than_once():
    given, true = drawn(5)
    given = [(boxes, np.argsort(scores + 0.01 * np.arange(len(scores)) + i).astype(float) + i / 10)
             for i, (boxes, scores) in enumerate(given)]  # fmt: skip
    times = [2, 0, 1, 3, 1, 0]
    found = matched(given, true).precision(torch.tensor([times]))[0]
    assert found[0].item() == pytest.approx(by_hand(given, true, THRESHOLDS[0], times), abs=0.02)
    repeated = [i for i, count in enumerate(times) for _ in range(count)]
    again = matched([given[i] for i in repeated], [true[i] for i in repeated]).precision(torch.ones(1, len(repeated)))
    torch.testing.assert_close(again[0], found, atol=0.02, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_that_of_faster_coco_eval(seed):
    evaluation = pytest.importorskip(
        "faster_coco_eval", reason="it is compared with faster-coco-eval, which is not here"
    )
    given, true = drawn(seed, pictures=12)
    rng = np.random.default_rng(seed)
    given = [(boxes, rng.permutation(1000)[: len(boxes)] / 1000) for boxes, _ in given]
    things = [
        {"id": len(true) * 100 * i + j + 1, "image_id": i, "category_id": 1, "bbox": wide(box), "area": area(box),
         "iscrowd": int(crowd[j])}
        for i, (truth, crowd) in enumerate(true) for j, box in enumerate(truth)
    ]  # fmt: skip
    document = {"images": [{"id": i, "width": 200, "height": 200} for i in range(len(true))],
                "categories": [{"id": 1, "name": "thing"}], "annotations": things}  # fmt: skip
    results = [
        {"image_id": i, "category_id": 1, "bbox": wide(box), "score": float(score)}
        for i, (boxes, scores) in enumerate(given) for box, score in zip(boxes, scores, strict=True)
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth = evaluation.COCO(document)
        judged = evaluation.COCOeval_faster(truth, truth.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    found = matched(given, true).precision(torch.ones(1, len(given)))[0]
    assert float(found.mean()) == pytest.approx(float(judged.stats[0]), abs=1e-6)
    assert float(found[0]) == pytest.approx(float(judged.stats[1]), abs=1e-6)


def wide(box):
    return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]


def area(box):
    return float((box[2] - box[0]) * (box[3] - box[1]))


def test_a_class_that_is_nowhere_has_no_precision():
    nothing = (np.empty((0, 4)), np.empty(0, dtype=bool))
    some = (np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([0.9]))
    assert matched([some], [nothing]).precision(torch.ones(1, 1)).isnan().all()
    true = (np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([False]))
    assert matched([(np.empty((0, 4)), np.empty(0))], [true]).precision(torch.ones(1, 1)).tolist() == [[0.0] * 10]
    assert matched([some], [true]).precision(torch.ones(1, 1)).tolist() == [[pytest.approx(1.0)] * 10]
