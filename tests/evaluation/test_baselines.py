"""Baselines that answer tasks themselves, beside systems with vectors."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from nearfar.contract import Baseline
from nearfar.evaluation import Vectors, judge_systems
from nearfar.evaluation.task import TRAINED
from tests.evaluation.systems import blobs, data_of, labels


class Some:
    """Stands for a source: the numbers of its samples."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.keys = [str(row) for row in rows.tolist()]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Any) -> "Some":
        return Some(self.rows[torch.from_numpy(rows)])


class Knows(Baseline):
    """Names every class that it has seen a label of."""

    name = "oracle"

    def classify(self, train: Any, given: Tensor, test: Any, classes: int) -> Tensor:
        assert bool((labels()[0][train.rows] == given).all())  # each sample with its own label
        seen = torch.zeros(classes).index_fill_(0, given, 1.0)
        return torch.nn.functional.one_hot(labels()[1][test.rows], classes) * seen


def evaluated(**more: Any) -> Any:
    data = replace(data_of(draws=3), train=Some(torch.arange(160)), test=Some(torch.arange(120)), **more)
    return judge_systems({"oracle": Vectors(None, baseline=Knows()), TRAINED: blobs(1.0)}, data)


def test_a_baseline_s_own_classifier_stands_in_the_rows_of_the_linear_probe() -> None:
    found = evaluated()
    for count in (1, 5, "all"):
        row = found.find("accuracy", "oracle", probe="linear", labels_per_class=count)
        assert row.value.mean == 1.0
        assert row.outcome == "behind"
    assert found.find("accuracy", "oracle", probe="kNN") is None
    assert found.find("effective rank", "oracle") is None


def test_unlabelled_samples_are_left_out_for_it_too() -> None:
    train, test = labels()
    train, test = train.clone(), test.clone()
    train[::5], test[::7] = -1, -1
    found = evaluated(train_labels=train, test_labels=test)
    assert found.find("accuracy", "oracle", probe="linear", labels_per_class="all").value.mean == 1.0


def test_two_classes_have_an_area_under_the_curve() -> None:
    one, two = (rows % 2 for rows in labels())
    both = {"raw input": blobs(3.0, classes=2), TRAINED: blobs(0.3, classes=2)}
    found = judge_systems(both, replace(data_of(draws=5), train_labels=one, test_labels=two, classes=["no", "yes"]))
    row = found.find("ROC AUC", labels_per_class="all")
    assert row.value.mean > 0.95
    assert found.find("ROC AUC", "raw input", labels_per_class=5).outcome == "ahead"
