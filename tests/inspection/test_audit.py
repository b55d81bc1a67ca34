"""The rankings of an audit find what was planted."""

import numpy as np
import pytest
import torch

from nearfar.inspection.audit import clusters, labels, outliers
from nearfar.inspection.audit.duplicates import duplicates, pair_scores
from nearfar.inspection.audit.neighbours import neighbours


def blobs(count: int = 240, classes: int = 4, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.arange(count) % classes
    return 6 * torch.eye(classes, 12)[numbers] + torch.randn(count, 12, generator=generator), numbers.numpy()


def test_copies_come_first_and_are_flagged_and_nothing_else_is() -> None:
    x, _ = blobs()
    x[17] = x[3]
    x[90] = x[40] + 1e-3
    found, _ = duplicates([neighbours(x)], np.arange(240), np.zeros(240))
    assert {
        frozenset(pair) for pair in zip(found.rows[: found.flagged], found.others[: found.flagged], strict=True)
    } == {
        frozenset({3, 17}),
        frozenset({40, 90}),
    }
    assert found.scores[0] == 15
    assert found.samples.tolist() == [17, 90]  # one of each stays
    assert len(found) > found.flagged
    scores = pair_scores([neighbours(x)])
    assert set(np.argsort(-scores)[:4].tolist()) == {3, 17, 40, 90}


def test_copies_that_only_the_input_shows_are_found_and_ranked_in_small_classes_too() -> None:
    x, _ = blobs()
    content = torch.randn(240, 12, generator=torch.Generator().manual_seed(3))
    content[17] = content[3] + 1e-3
    measures = [neighbours(x), neighbours(content)]
    found, _ = duplicates(measures, np.arange(240), np.zeros(240))
    assert {int(found.rows[0]), int(found.others[0])} == {3, 17}
    assert found.flagged == 1
    small, _ = duplicates(measures, np.arange(240), np.zeros(240), classes=40)
    assert {int(small.rows[0]), int(small.others[0])} == {3, 17}
    assert small.flagged == 0  # by six samples a class, chance is not told
    assert set(np.argsort(-pair_scores(measures))[:2].tolist()) == {3, 17}


def test_copies_across_parts_are_leaks() -> None:
    x, _ = blobs()
    x[200], x[50] = x[5], x[6]
    ids = np.arange(240)
    ids[201] = ids[7] = -9  # equal content, whatever the vectors
    within, across = duplicates([neighbours(x)], ids, (np.arange(240) >= 120).astype(np.int64))
    assert (within.flagged, across.flagged) == (1, 2)
    assert across.samples.tolist() == [200, 201]


def test_far_samples_are_outliers() -> None:
    x, _ = blobs()
    x[7], x[100] = -6 * torch.eye(12)[10], -6 * torch.eye(12)[11]
    found = outliers.outliers(neighbours(x), x)
    assert set(found.rows[:2].tolist()) == {7, 100}
    assert 0 < found.flagged <= 4


def test_a_foreign_group_is_found_though_its_samples_are_near_to_each_other_and_a_class_apart_is_none() -> None:
    x, numbers = blobs(480)
    group = np.arange(0, 480, 16)  # thirty, of all labels
    x[torch.from_numpy(group)] = 9 * torch.eye(12)[10] + 0.3 * torch.randn(30, 12)
    numbers = numbers.copy()
    numbers[group] = np.arange(30) % 4
    found = outliers.outliers(neighbours(x), x, numbers)
    assert set(found.rows[:30].tolist()) == set(group.tolist())
    assert set(found.samples.tolist()) >= set(group.tolist())
    numbers[group] = 4  # a class of its own
    assert not set(outliers.outliers(neighbours(x), x, numbers).samples.tolist()) & set(group.tolist())


def test_swapped_labels_are_found_with_the_class_that_fits() -> None:
    x, truth = blobs(400)
    given = truth.copy()
    wrong = np.arange(0, 400, 20)
    given[wrong] = (given[wrong] + 1) % 4
    p = labels.probabilities(x, neighbours(x), given, 4)
    assert p.shape == (400, 4)
    assert np.allclose(p.sum(axis=1), 1)
    found = labels.wrong_labels(p, given)
    first = found.rows[:20]
    assert len(set(first.tolist()) & set(wrong.tolist())) >= 18
    assert (found.suggested[:18] == truth[first[:18]]).mean() > 0.9
    assert len(set(wrong.tolist()) & set(found.samples.tolist())) >= 18
    assert found.flagged <= 24


def test_of_classes_that_are_hard_to_tell_few_right_labels_are_flagged() -> None:
    truth = torch.arange(600) % 6
    noise = torch.randn(600, 12, generator=torch.Generator().manual_seed(4))
    x = 1.5 * torch.eye(6, 12)[truth] + noise
    p = labels.probabilities(x, neighbours(x), truth.numpy(), 6)
    assert (p.argmax(axis=1) != truth.numpy()).mean() > 0.25  # what the classifiers get wrong
    assert labels.wrong_labels(p, truth.numpy()).flagged < 12


def test_a_sample_s_own_label_says_nothing_of_its_probabilities() -> None:
    x, given = blobs(200)
    other = given.copy()
    other[13] = (other[13] + 2) % 4
    before, after = (labels.probabilities(x, neighbours(x), some, 4)[13] for some in (given, other))
    assert before.argmax() == after.argmax()


def test_classes_that_overlap_are_confusable_and_samples_without_a_label_do_not_count() -> None:
    x, given = blobs(400)
    x[given == 1] = x[given == 0][torch.randperm(100, generator=torch.Generator().manual_seed(0))] + 0.5 * torch.randn(
        100, 12, generator=torch.Generator().manual_seed(1)
    )
    given[::10] = -1
    p = labels.probabilities(x, neighbours(x), given, 4)
    found = labels.confusable(p, given, ["ant", "bee", "cat", "dog"], np.empty(0, np.int64))
    assert found[0].about == "ant and bee"
    assert all(given[row] >= 0 for row in found[0].rows)


@pytest.mark.parametrize("parted", [True, False])
def test_a_class_of_two_clusters_is_told_and_one_of_a_single_cloud_is_not(parted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 8, generator=generator) + torch.tensor([4.0, *[0.0] * 7])
    if parted:
        x[:60, 1] += 8
    found = clusters.hidden_clusters(x, np.zeros(200, dtype=np.int64), ["only"])
    assert len(found) == parted
    if parted:
        assert found[0].about == "class only"
        assert "139 and 61" in found[0].found


def test_few_and_equal_samples_are_no_error() -> None:
    for x in (torch.zeros(2, 3), torch.ones(30, 3), torch.randn(5, 3)):
        near = neighbours(x)
        within, across = duplicates([near], np.arange(len(x)), np.zeros(len(x)))
        assert len(across) == 0
        assert within.flagged == (0 if len(near.first) == len(x) else len(x) - 1)
        assert outliers.outliers(near, x).flagged == 0
        assert np.isfinite(labels.probabilities(x, near, np.arange(len(x)) % 2, 2)).all()


def test_a_group_behind_a_gap_is_flagged_and_chance_makes_none() -> None:
    rng = np.random.default_rng(0)
    group = np.concatenate([rng.standard_normal(960), 4 + 0.1 * rng.standard_normal(40)])
    assert np.flatnonzero(outliers.beyond_gap(group)).tolist() == list(range(960, 1000))
    for tail in (rng.standard_normal, rng.standard_exponential):
        assert sum(bool(outliers.beyond_gap(tail(1000)).any()) for _ in range(100)) <= 2
    assert not outliers.beyond_gap(np.full(1000, np.nan)).any()
    assert not outliers.beyond_gap(np.zeros(1000)).any()
