"""Mean IoU by hand, and rows of several systems over the same pictures."""

import numpy as np
import pytest
import torch

from nearfar.downstream.over_samples import rows_over
from nearfar.downstream.segment import TASK, Segmented, iou, rows_of
from nearfar.errors import DataError
from nearfar.evaluation.intervals import bootstrap

CLASSES = ["sky", "road", "never"]


def segmented(seed, right=0.7, count=9):
    rng = np.random.default_rng(seed)
    tallies = rng.integers(0, 20, (count, 3, 3))
    tallies[:, [0, 1], [0, 1]] += int(100 * right)
    tallies[:, 2] = 0
    return Segmented(torch.arange(count), torch.from_numpy(tallies), CLASSES)


def test_mean_iou_is_that_of_sets_of_pixels():
    truth, given = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 0, 1, 1, 0, 2])
    tally = torch.zeros(1, 3, 3).double()
    for t, g in zip(truth, given, strict=True):
        tally[0, t, g] += 1
    by_hand = []
    for k in range(3):
        both, either = ((truth == k) & (given == k)).sum(), ((truth == k) | (given == k)).sum()
        by_hand.append(both / either)
    torch.testing.assert_close(iou(tally)[0].float(), torch.stack(by_hand))
    one = Segmented(torch.zeros(1), tally.long(), CLASSES)
    mean = next(row for row in one.rows if row.metric == "mean IoU").value.mean
    assert mean == pytest.approx(float(by_hand[0] + by_hand[1]) / 2)  # `never` is in no true mask


def test_a_better_segmenter_is_ahead_on_the_same_pictures():
    rows = rows_of({"a": [segmented(0, 0.3)], "b": [segmented(1, 0.9)]}, {"labels": "all"}, task="fine-tuning")
    first = next(row for row in rows if row.metric == "mean IoU" and row.system == "a")
    assert first.outcome == "ahead"
    assert first.lead.low < first.lead.mean < first.lead.high
    assert abs(float(first.influence.sum())) < 1e-9
    assert {row.metric for row in rows if row.role == "detail"} == {"IoU of sky", "IoU of road"}


def test_of_a_figure_that_is_a_mean_the_interval_is_the_usual_one():
    values = torch.rand(40, generator=torch.Generator().manual_seed(0)).double()
    (row,) = rows_over("t", "m", {}, {"a": [lambda weights: weights @ values / weights.sum(1)]}, 40)
    usual = bootstrap(values)
    assert row.value.mean == pytest.approx(usual.mean)
    assert (row.value.low, row.value.high) == pytest.approx((usual.low, usual.high), abs=0.02)
    assert row.value.error == pytest.approx(usual.error, rel=0.1)
    torch.testing.assert_close(row.influence, (values - values.mean()) / 40, rtol=1e-6, atol=1e-9)


def test_several_draws_widen_the_interval():
    alike = rows_of({"a": [segmented(0), segmented(0)]}, {}, task="t")[0]
    apart = rows_of({"a": [segmented(0, 0.3), segmented(0, 0.9)]}, {}, task="t")[0]
    assert apart.value.half_width > alike.value.half_width
    assert apart.value.count == 2


def test_what_is_written_is_read_back_and_what_is_not_is_refused():
    one = segmented(0)
    again = TASK.judged(one.to_json())
    assert torch.equal(again.tallies, one.tallies)
    with pytest.raises(DataError, match="cannot be read"):
        TASK.judged({**one.to_json(), "classes": ["sky"]})
