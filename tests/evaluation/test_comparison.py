"""Runs compared: sample by sample where they share the samples, and never surer than that allows."""

from dataclasses import replace

import pytest
import torch

from nearfar.errors import ConfigError
from nearfar.evaluation import Evaluation, Row
from nearfar.evaluation.comparison import PAIRED, UNPAIRED, Judged, compare, duel
from nearfar.evaluation.intervals import bootstrap, crossed, figure
from nearfar.evaluation.per_sample import load, save
from nearfar.evaluation.task import TRAINED, rows_over_draws, rows_over_samples
from tests.evaluation.systems import blobs

KNN = {"probe": "kNN", "k": 20, "labels per class": "all"}
LINEAR = {"probe": "linear", "labels per class": "all"}
FEW = {"probe": "linear", "labels per class": 5}


def hits(share, count=400, seed=0, like=None, changed=0.05):
    """1 where a sample is right; `like` others, of which a share has changed to right."""
    generator = torch.Generator().manual_seed(seed if like is None else seed + 1000)
    if like is None:
        return (torch.rand(count, generator=generator) < share).double()
    return torch.maximum(like, (torch.rand(len(like), generator=generator) < changed).double())


@pytest.fixture
def run(tmp_path):
    """Makes a run of figures: setting -> values [M], or [R, M] of several draws; `over` names the samples."""

    def made(name, values, *, over="test", **more):
        rows = []
        for setting, table in values:
            if table.ndim == 1:
                rows += rows_over_samples("classify", "accuracy", setting, {TRAINED: table}, chance=0.1, over=over)
            else:
                rows += rows_over_draws("classify", "accuracy", setting, {TRAINED: table}, chance=0.1)
                rows[-1] = Row(**{**vars(rows[-1]), "over": over})
        full = {"protocol": "", "systems": [TRAINED], "rows": rows, "train": 100, "classes": ["a", "b"], "steps": 900}
        found = Evaluation(**{**full, **more})
        save(tmp_path, found)
        return Judged(name, found, load(tmp_path, found))

    return made


def test_the_same_samples_are_compared_one_by_one(run):
    one = hits(0.6)
    other = hits(0.6, like=one, changed=0.2)
    found = duel(run("new", [(KNN, other)]), run("old", [(KNN, one)]))
    (row,) = found.rows
    wanted = bootstrap(other - one)
    assert row.lead.kind == PAIRED
    assert row.lead.count == 400
    assert row.lead.mean == pytest.approx(wanted.mean)
    assert row.lead.error == pytest.approx(wanted.error, rel=0.01)
    assert found.answer == "yes"
    assert found.paired


def test_so_a_difference_is_sure_although_the_intervals_overlap(run):
    one = hits(0.6)
    other = hits(0.6, like=one, changed=0.2)
    new, old = ([(KNN, x)] for x in (other, one))
    assert duel(run("new", new), run("old", old)).answer == "yes"
    apart = duel(run("new", new, over="others"), run("old", old))
    assert apart.answer == "unclear"
    assert apart.rows[0].lead.kind == UNPAIRED
    assert apart.rows[0].lead.error == pytest.approx((0.6 * 0.4 / 400 * 2) ** 0.5, rel=0.05)


def test_draws_and_samples_both_count(run):
    generator = torch.Generator().manual_seed(3)
    one = (torch.rand(10, 300, generator=generator) < 0.5).double()
    other = torch.maximum(one, (torch.rand(10, 300, generator=generator) < 0.1).double())
    (row,) = duel(run("new", [(FEW, other)]), run("old", [(FEW, one)])).rows
    wanted = crossed(other - one)
    assert row.lead.mean == pytest.approx(wanted.mean)
    assert wanted.error <= row.lead.error <= 1.5 * wanted.error


def test_two_like_runs_are_not_told_apart(run):
    found = compare([run("a", [(KNN, hits(0.6, seed=1))]), run("b", [(KNN, hits(0.6, seed=2))])])
    assert found.answer == "unclear"
    assert found.headline in {f"It is not clear whether {x} or {y} is better." for x, y in ("ab", "ba")}
    assert "no figure is sure to differ by more than 2 points" in str(found)


def test_a_run_that_is_better_in_one_way_and_worse_in_another_is_mixed(run):
    low, high = hits(0.3, seed=1), hits(0.8, seed=2)
    found = compare([run("a", [(KNN, low), (LINEAR, high)]), run("b", [(KNN, high), (LINEAR, low)])])
    assert found.answer == "mixed"
    assert "better than b in some ways, worse in others" in found.headline
    assert "ahead in 1 of 2 figures" in str(found)


def test_the_best_of_three_is_named_with_what_it_beats(run):
    runs = [run(name, [(KNN, hits(share, seed=7))]) for name, share in (("low", 0.3), ("high", 0.8), ("near", 0.795))]
    found = compare(runs)
    assert found.best == 1
    assert found.headline == "high comes out best: better than low; not clearly different from near."
    assert compare([runs[0], runs[0], runs[1]]).headline == "high is better than all others."


def test_the_order_of_runs_does_not_matter(run):
    a, b = run("a", [(KNN, hits(0.4))]), run("b", [(KNN, hits(0.7, seed=1))])
    assert compare([a, b]).headline == compare([b, a]).headline == "b is better than a."
    (one,), (other,) = duel(a, b).rows, duel(b, a).rows
    assert one.lead.mean == -other.lead.mean
    assert one.lead.low == pytest.approx(-other.lead.high)


def test_how_well_a_run_finds_its_own_views_says_nothing_of_another(run):
    def viewed(name, share):
        row = Row(TRAINED, "label_free", "view retrieval", {}, bootstrap(hits(share)), chance=0.01)
        return Judged(name, Evaluation("", [TRAINED], [row]), {})

    found = compare([viewed("a", 0.9), viewed("b", 0.2)])
    assert found.answer == "unclear"
    assert "share no figure that says how good they are" in str(found)
    assert found.duels[1 - found.best].rows[0].lead is not None


def test_what_differs_in_how_they_were_judged_is_said(run):
    a, b = run("a", [(KNN, hits(0.4))]), run("b", [(KNN, hits(0.7))], over="others", train=50, steps=3)
    said = " ".join(compare([a, b]).cautions)
    assert "Not judged on the same test samples" in said
    assert "different numbers of samples (50, 100)" in said
    assert "b: Too short to tell" in said
    assert "another --seed" in said


def test_figures_without_an_interval_are_shown_and_do_not_count(run):
    def ranked(name, value):
        row = Row(TRAINED, "label_free", "effective rank", {}, figure(value, 10), share=False, role="shown")
        return Judged(name, Evaluation("", [TRAINED], [row]), {})

    assert duel(ranked("a", 9.0), ranked("b", 2.0)).rows[0].lead is None


def test_one_run_is_no_comparison(run):
    with pytest.raises(ConfigError, match="at least two"):
        compare([run("a", [(KNN, hits(0.4))])])


def test_a_whole_evaluation_is_compared_with_that_of_a_noisier_encoder(tmp_path):
    from nearfar.evaluation import judge_systems
    from tests.evaluation.systems import data_of
    from tests.evaluation.test_per_sample import sources

    runs = []
    for name, noise in (("noisy", 2.5), ("clear", 0.8)):
        found = judge_systems({TRAINED: blobs(noise)}, replace(data_of(few=(5,), draws=3), **sources()))
        save(tmp_path, found)
        runs.append(Judged(name, found, load(tmp_path, found)))
    found = compare(runs)
    assert found.headline == "clear is better than noisy."
    assert found.duels[0].paired
    assert "on the same 120 test samples" in str(found)
