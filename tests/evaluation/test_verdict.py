import pytest
import torch

from nearfar.evaluation import Interval, label_free
from nearfar.evaluation.result import Evaluation, Row

RAW, UNTRAINED, TRAINED = "raw input", "untrained encoder", "trained encoder"


def interval(mean, half=0.01):
    return Interval(mean, mean - half, mean + half, "t over label draws", 20)


def evaluation(table):
    """Rows from {labels per class: (raw, untrained, trained)}; both probes agree, half width 1 %."""
    rows = []
    for count, values in table.items():
        for probe, k in (("knn", 20), ("linear", None)):
            for name, value in zip((RAW, UNTRAINED, TRAINED), values, strict=True):
                lead = None if name == TRAINED else interval(values[-1] - value)
                rows.append(Row(name, probe, k, count, interval(value), lead))
    return Evaluation("", [RAW, UNTRAINED, TRAINED], rows)


@pytest.mark.parametrize(
    ("table", "level", "head"),
    [
        ({5: (0.5, 0.4, 0.8), None: (0.8, 0.7, 0.9)}, "good", "Training helped. "),
        ({None: (0.8, 0.7, 0.9)}, "good", "Training helped. "),
        ({5: (0.5, 0.4, 0.8), None: (0.9, 0.7, 0.9)}, "good", "Training helped where labels are few. "),
        (
            {5: (0.5, 0.4, 0.8), None: (0.95, 0.7, 0.9)},
            "unclear",
            "Training helped where labels are few, but not with all",
        ),
        ({5: (0.5, 0.4, 0.5), None: (0.9, 0.7, 0.9)}, "unclear", "It is not clear that training helped."),
        ({5: (0.8, 0.4, 0.5), None: (0.9, 0.7, 0.9)}, "bad", "the trained encoder is nowhere ahead of the raw input."),
    ],
)
def test_level_follows_the_paired_intervals(table, level, head):
    found, sentence = evaluation(table).verdict()
    assert found == level
    assert head in sentence


def test_sentence_gives_the_numbers():
    _, sentence = evaluation({5: (0.5, 0.4, 0.8), None: (0.9, 0.7, 0.9)}).verdict()
    assert sentence == (
        "Training helped where labels are few. With 5 labels a class: linear 80.0 ± 1.0 %, kNN 80.0 ± 1.0 %; ahead of "
        "the raw input (linear 50.0 %, kNN 50.0 %) and the untrained encoder (linear 40.0 %, kNN 40.0 %). With all "
        "labels: linear 90.0 ± 1.0 %, kNN 90.0 ± 1.0 %; ahead of the untrained encoder (linear 70.0 %, kNN 70.0 %), no "
        "clear difference from the raw input (linear 90.0 %, kNN 90.0 %)."
    )


def test_a_saturated_baseline_is_said():
    _, sentence = evaluation({5: (0.5, 0.4, 0.8), None: (0.98, 0.7, 0.98)}).verdict()
    assert "The raw input alone reaches 98.0 % with all labels, so that little is left to gain there." in sentence


def test_probes_that_disagree_are_mixed():
    found = evaluation({None: (0.8, 0.7, 0.9)})
    found.rows[0] = Row(RAW, "knn", 20, None, interval(0.95), interval(-0.05))
    level, sentence = found.verdict()
    assert level == "unclear"
    assert "ahead by one probe and behind by the other against the raw input" in sentence


@pytest.mark.parametrize(("accuracy", "level", "words"), [(0.8, "unclear", "no baseline"), (0.1, "bad", "guessing")])
def test_one_system_is_compared_with_guessing(accuracy, level, words):
    rows = [Row(TRAINED, "knn", 20, None, interval(accuracy)), Row(TRAINED, "linear", None, None, interval(accuracy))]
    found, sentence = Evaluation("", [TRAINED], rows, chance=0.1, majority=0.12).verdict()
    assert found == level
    assert words in sentence


@pytest.mark.parametrize(
    ("views", "level"),
    [
        (None, "unclear"),
        ({TRAINED: 0.9}, "unclear"),
        ({UNTRAINED: 0.5, TRAINED: 0.9}, "good"),
        ({UNTRAINED: 0.5, TRAINED: 0.51}, "unclear"),
        ({UNTRAINED: 0.9, TRAINED: 0.5}, "bad"),
    ],
)
def test_without_labels_views_decide(views, level):
    systems = {UNTRAINED: torch.randn(300, 8), TRAINED: torch.randn(300, 8)}
    found, sentence = label_free(systems, view_retrieval=views).verdict()
    assert found == level
    assert "Without labels nothing can be said about accuracy." in sentence


def test_collapse_is_bad_whatever_the_views():
    found = label_free({TRAINED: torch.ones(50, 4)}, view_retrieval={TRAINED: 1.0})
    assert found.verdict()[0] == "bad"
