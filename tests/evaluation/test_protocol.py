import json

import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.evaluation import Evaluation, Split, compare, label_free
from nearfar.evaluation.protocol import _draws

CLASSES = ["cat", "dog", "owl", "pig"]


def blobs(noise, *, train=160, test=120, classes=4, seed=0):
    """Equal labels for every noise and seed: systems of one evaluation."""
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.eye(classes, 8)
    labels = [torch.arange(count) % classes for count in (train, test)]
    vectors = [centres[y] + noise * torch.randn(len(y), 8, generator=generator) for y in labels]
    return Split(vectors[0], labels[0], vectors[1], labels[1])


@pytest.fixture(scope="module")
def found():
    systems = {"raw input": blobs(2.0), "untrained encoder": blobs(3.0), "trained encoder": blobs(0.5)}
    return compare(systems, classes=CLASSES)


def test_every_probe_is_run_on_every_system(found):
    assert [(r.probe, r.k, r.labels_per_class) for r in found.rows if r.system == "raw input"] == [
        ("knn", 1, 1),
        ("linear", None, 1),
        ("knn", 5, 5),
        ("linear", None, 5),
        ("knn", 20, None),
        ("knn", 200, None),
        ("linear", None, None),
    ]


def test_intervals_are_of_the_stated_kind(found):
    assert {(r.labels_per_class is None, r.accuracy.kind, r.accuracy.count) for r in found.rows} == {
        (False, "t over label draws", 20),
        (True, "bootstrap over test samples", 120),
    }


def test_headline_figures_are_those_of_the_last_system(found):
    assert found.knn.mean > 0.95
    assert found.linear.mean > 0.95
    assert found.retrieval["precision@1"].mean > 0.9
    assert found.knn == found.find("trained encoder", "knn", None, 20).accuracy


def test_counts_and_rates(found):
    assert (found.train, found.test, found.chance, found.majority) == (160, 120, 0.25, 0.25)


def test_a_better_encoder_is_ahead_of_both(found):
    assert {row.outcome for row in found.rows if row.system != "trained encoder"} == {"ahead"}
    assert all(row.lead is None for row in found.rows if row.system == "trained encoder")
    assert found.verdict()[0] == "good"


def test_lead_is_the_difference_of_the_accuracies(found):
    for row in found.rows:
        if row.lead:
            last = found.find("trained encoder", row.probe, row.labels_per_class, row.k)
            assert row.lead.mean == pytest.approx(last.accuracy.mean - row.accuracy.mean)


def test_equal_systems_are_neither_ahead_nor_behind():
    same = compare({"a": blobs(1.0), "b": blobs(1.0)}, classes=CLASSES, draws=5)
    assert {row.outcome for row in same.rows if row.system == "a"} == {"unclear"}
    assert {row.lead.mean for row in same.rows if row.lead} == {0.0}
    assert same.verdict()[0] == "unclear"


def test_a_worse_encoder_is_bad():
    assert compare({"raw input": blobs(0.5), "trained encoder": blobs(3.0)}, classes=CLASSES).verdict()[0] == "bad"


def test_the_same_seed_gives_the_same_evaluation(found):
    again = compare({s: blobs(n) for s, n in zip(found.systems, (2.0, 3.0, 0.5), strict=True)}, classes=CLASSES)
    assert again.rows == found.rows
    assert again.retrievals == found.retrievals


def test_json_is_strict_and_comes_back(found):
    text = json.dumps(found.to_json(), allow_nan=False)
    assert Evaluation.from_json(json.loads(text)) == found


def test_a_constant_embedding_scores_what_chance_does():
    constant = Split(torch.full((160, 5), 0.3), torch.arange(160) % 4, torch.full((120, 5), 0.3), torch.arange(120) % 4)
    found = compare({"trained encoder": constant}, classes=CLASSES)
    assert all(row.accuracy.mean == pytest.approx(0.25) for row in found.rows)
    assert found.retrieval["precision@1"].mean == pytest.approx(0.25, abs=0.12)
    assert found.verdict() == (
        "bad",
        "The trained encoder has collapsed: 100 % of its dimensions never change. Its embeddings cannot be relied on.",
    )


def test_random_vectors_score_what_chance_does():
    noise = Split(torch.randn(400, 6), torch.arange(400) % 4, torch.randn(400, 6), torch.arange(400) % 4)
    found = compare({"x": noise}, classes=CLASSES)
    assert all(row.accuracy.mean == pytest.approx(0.25, abs=0.11) for row in found.rows)


def test_draws_are_balanced_and_nested():
    labels = torch.tensor([0] * 9 + [2] * 6)
    draws = _draws(labels, (1, 5), 4, seed=0)
    for one, five in zip(draws[1], draws[5], strict=True):
        assert labels[five].tolist() == [0] * 5 + [2] * 5
        assert set(one.tolist()) < set(five.tolist())
    assert len({tuple(d.tolist()) for d in draws[5]}) == 4


def test_rows_that_a_rare_class_cannot_fill_are_left_out_and_said():
    full = blobs(1.0)
    labels = full.train_labels.clone()
    labels[(labels == 2).nonzero().flatten()[3:]] = -1
    found = compare({"a": Split(full.train, labels, full.test, full.test_labels)}, classes=CLASSES, draws=3)
    assert {row.labels_per_class for row in found.rows} == {1, None}
    assert "No row with 5 labels a class: 'owl' has 3 training samples." in found.notes
    assert "Unlabelled and left out: 37 train and 0 test samples." in found.notes


def test_test_labels_never_trained_on_are_wrong_and_said():
    full = blobs(0.1)
    labels = torch.where(full.train_labels == 3, -1, full.train_labels)
    found = compare({"a": Split(full.train, labels, full.test, full.test_labels)}, classes=CLASSES, draws=3)
    assert found.linear.mean == pytest.approx(0.75)
    assert "30 test samples have labels that no training sample has; they count as wrong." in found.notes


def test_few_training_samples_are_said():
    found = compare({"a": blobs(0.1, train=12, test=20)}, classes=CLASSES, draws=3)
    assert "There are only 12 training samples: kNN with k = 20 lets all of them vote." in found.notes
    assert "There are only 20 test samples: the intervals are rough." in found.notes
    assert any("Too few labels a class to choose the strength" in note for note in found.notes)


def test_one_class_and_one_test_sample_do_not_break():
    one = Split(torch.randn(6, 3), torch.zeros(6).long(), torch.randn(1, 3), torch.zeros(1).long())
    found = compare({"a": one, "b": one}, classes=["only"], draws=2)
    assert found.linear.mean == 1
    assert "No retrieval: no two test samples share a label." in found.notes
    json.dumps(found.to_json(), allow_nan=False)


def test_half_precision_vectors_are_taken():
    full = blobs(0.2)
    half = Split(full.train.half(), full.train_labels, full.test.half(), full.test_labels)
    assert compare({"a": half}, classes=CLASSES, draws=2).knn.mean > 0.95


def nan_train():
    full = blobs(1.0)
    full.train[3, 1] = torch.nan
    return full


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: compare({}, classes=CLASSES), DataError, "no system was given"),
        (lambda: label_free({}), DataError, "no system was given"),
        (
            lambda: compare({"a": blobs(1.0)}, classes=["x"]),
            DataError,
            "The train labels hold 3, but there are 1 classes",
        ),
        (lambda: compare({"a": blobs(1.0)}, classes=CLASSES, draws=1), ConfigError, "draws must be >= 2"),
        (lambda: compare({"a": blobs(1.0)}, classes=CLASSES, few=(0,)), ConfigError, "few must hold"),
        (
            lambda: compare({"a": blobs(1.0), "b": blobs(1.0, train=80)}, classes=CLASSES),
            DataError,
            "share the train labels, but those of 'b' and 'a' differ",
        ),
        (
            lambda: compare({"bad": nan_train()}, classes=CLASSES),
            DataError,
            "The vectors of 'bad' cannot be evaluated. Row 3",
        ),
        (
            lambda: compare(
                {"a": Split(torch.ones(3, 2), -torch.ones(3), torch.ones(1, 2), torch.ones(1))}, classes=CLASSES
            ),
            DataError,
            "no labelled train samples",
        ),
    ],
)
def test_mistakes_are_explained(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_without_labels_there_is_geometry_and_no_accuracy():
    found = label_free({"untrained encoder": torch.randn(200, 8), "trained encoder": torch.randn(200, 8)})
    assert (found.knn, found.linear, found.retrieval) == (None, None, {})
    assert found.geometry.effective_rank > 7
    assert Evaluation.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found
