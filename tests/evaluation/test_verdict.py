"""What rows come to; how often noise is called good is measured by benchmarks/verdicts.py."""

import dataclasses

import pytest
import torch

from nearfar.config import too_short
from nearfar.evaluation import Evaluation, Vectors, judge_systems
from nearfar.evaluation.joint import correlations_of, jointly
from nearfar.evaluation.task import RAW, TRAINED, UNTRAINED, Row
from tests.evaluation.systems import CLASSES, data_of, evaluation, interval


@pytest.mark.parametrize(
    ("leads", "level", "head"),
    [
        ({"kNN": {RAW: 0.1, UNTRAINED: 0.2}}, "good", "Training helps; better than the raw input."),
        ({"kNN": {RAW: 0.1, UNTRAINED: 0.2}, "linear": {RAW: 0, UNTRAINED: 0}}, "good", "Training helps;"),
        ({"kNN": {RAW: 0.1, UNTRAINED: 0.2}, "linear": {RAW: -0.1, UNTRAINED: 0.2}}, "mixed", "worse in others"),
        ({"kNN": {RAW: -0.1, UNTRAINED: 0.2}}, "mixed", "Training helps; worse than the raw input."),
        ({"kNN": {RAW: 0, UNTRAINED: 0.2}}, "unclear", "Training helps; not clearly different from the raw input."),
        ({"kNN": {RAW: 0.1, UNTRAINED: 0}}, "unclear", "It is not clear that training helps;"),
        ({"kNN": {RAW: 0.1, UNTRAINED: -0.2}}, "mixed", "Training did harm; better than the raw input."),
        ({"kNN": {RAW: 0, UNTRAINED: -0.2}}, "bad", "Training did harm;"),
    ],
)
def test_level_follows_the_answers(leads, level, head):
    verdict = evaluation(leads).verdict()
    assert verdict.level == level
    assert head in verdict.headline


def test_baselines_with_the_same_answer_are_named_together():
    leads = {"popularity": 0.2, "item-kNN": 0.0, "EASE": 0.0, "chart": 0.3, UNTRAINED: 0.4, TRAINED: None}
    rows = [
        Row(name, "recommend", "recall@20", {}, interval(0.5), None if lead is None else interval(lead))
        for name, lead in leads.items()
    ]
    verdict = Evaluation("", list(leads), rows, steps=900).verdict()
    assert verdict.headline == (
        "Training helps; better than the popularity and the chart; not clearly different from the item-kNN and EASE."
    )
    assert len(verdict.statements) == 5


def test_the_figure_that_says_most_is_named_with_its_lead():
    verdict = evaluation({"kNN": {UNTRAINED: 0.05}, "linear": {UNTRAINED: 0.2}, "few": {UNTRAINED: -0.1}}).verdict()
    assert str(verdict.statements[0]) == (
        "Training helps in some ways and harms in others: ahead in 2 of 3 figures, most in linear (accuracy): +20.0 "
        "points (18.8 to 21.2); behind in 1 of 3 figures, most in few (accuracy): -10.0 points (-11.2 to -8.8)."
    )


def test_a_lead_that_one_row_alone_would_show_is_lost_among_many():
    alone, among = ({"0": {UNTRAINED: 0.031}} | {str(i): {UNTRAINED: 0.0} for i in range(1, n)} for n in (1, 20))
    assert evaluation(alone).verdict().statements[0].answer == "yes"
    assert evaluation(among).verdict().statements[0].answer == "unclear"


def test_rows_that_say_the_same_cost_no_more_than_one():
    rows = [Row(UNTRAINED, "t", "m", {"k": i}, interval(0.5), interval(0.031)) for i in range(20)]
    leads = [row.lead for row in rows]
    assert {t.outcome for t in jointly(rows, leads, [[1.0] * 20] * 20)} == {"ahead"}
    assert {t.outcome for t in jointly(rows, leads)} == {"unclear"}


def test_differences_within_the_margin_are_none():
    sure = interval(0.019, error=1e-4)
    row = Row(UNTRAINED, "t", "m", {}, interval(0.5), sure)
    assert jointly([row], [sure])[0].outcome == "unclear"
    assert jointly([dataclasses.replace(row, share=False)], [sure])[0].outcome == "ahead"


def test_lower_may_be_better():
    row = Row(UNTRAINED, "t", "error", {}, interval(0.5), interval(-0.1), higher_is_better=False)
    assert row.outcome == "ahead"
    assert jointly([row], [row.lead])[0].outcome == "ahead"


def test_related_leads_are_seen_to_be_related():
    x = torch.randn(400, generator=torch.Generator().manual_seed(0)).double()
    moved = (x - x.mean()) / 400
    lead = interval(0.1, error=float(moved.norm()))
    rows = [Row("b", "t", str(i), {}, lead, lead, influence=moved * sign) for i, sign in enumerate((1, 1, -1))]
    unknown = Row("b", "t", "3", {}, lead, lead)
    assert correlations_of([*rows, unknown]) == [[1, 1, -1, 0], [1, 1, -1, 0], [-1, -1, 1, 0], [0, 0, 0, 1]]


def test_under_the_null_a_row_is_called_different_one_time_in_twenty():
    """500 sets of nine related leads of 60 samples; no margin."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(500, 60, 1, generator=generator)
    x = (common + torch.randn(500, 60, 9, generator=generator)).double()
    mean, error = x.mean(1), x.std(1) / 60**0.5
    row = Row("b", "t", "m", {}, interval(0))
    matrix = torch.full((9, 9), 0.5).fill_diagonal_(1).tolist()
    wrong = 0
    for means, errors in zip(mean.tolist(), error.tolist(), strict=True):
        leads = [interval(m, e, freedom=59) for m, e in zip(means, errors, strict=True)]
        wrong += any(t.outcome != "unclear" for t in jointly([row] * 9, leads, matrix, margin=0))
    assert 0.02 < wrong / 500 < 0.08


@pytest.mark.parametrize(
    ("reached", "level", "words"), [(0.8, "unclear", "no baseline"), (0.1, "bad", "Not clearly better")]
)
def test_one_system_is_compared_with_chance(reached, level, words):
    verdict = evaluation({"kNN": {}}, reached=reached).verdict()
    assert verdict.level == level
    assert words in str(verdict)


def test_a_fault_is_bad_whatever_the_leads():
    found = evaluation({"kNN": {UNTRAINED: 0.2}})
    found.rows.append(Row(TRAINED, "t", "rank", {}, interval(1), role="shown", fault="it is one point"))
    assert found.verdict().headline.startswith("The trained encoder has collapsed: it is one point.")
    assert found.verdict().level == "bad"


@pytest.mark.parametrize(
    ("steps", "epochs", "short"),
    [(12, 2.0, True), (49, 99.0, True), (50, 3.0, False), (200, 2.9, True), (300, 0.1, False), (None, None, False)],
)
def test_too_short_a_training_is_said_and_never_good(steps, epochs, short):
    found = evaluation({"kNN": {UNTRAINED: 0.2}})
    found.steps, found.epochs = steps, epochs
    assert (too_short(steps, epochs) is not None) == short
    assert (found.verdict().level == "unclear") == short
    assert ("Too short to tell" in str(found.verdict())) == short


def test_too_short_a_training_is_unclear_even_where_it_is_behind():
    found = evaluation({"kNN": {RAW: -0.2, UNTRAINED: 0}})
    assert found.verdict().level == "bad"
    found.steps, found.epochs = 5, 1.0
    assert found.verdict().level == "unclear"


def test_the_length_is_named_in_words():
    assert too_short(12, 2.0) == "Too short to tell (12 steps, 2 epochs): give at least 50 steps and 3 epochs."
    assert "(1 step)" in (too_short(1, None) or "")


def test_nothing_judged_is_unclear():
    assert Evaluation("", [TRAINED], classes=CLASSES).verdict().level == "unclear"


def test_noise_against_noise_is_not_called_ahead():
    generator = torch.Generator().manual_seed(3)

    def noise():
        return Vectors(torch.randn(160, 6, generator=generator), torch.randn(120, 6, generator=generator))

    found = judge_systems({RAW: noise(), UNTRAINED: noise(), TRAINED: noise()}, data_of(draws=5))
    assert found.verdict().level == "bad"
    assert {one.answer for one in found.verdict().statements} == {"unclear", "no"}
