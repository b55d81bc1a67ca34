"""What probes of one system get right: kNN and a linear classifier on its vectors, or a baseline's own classifier."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from nearfar.contract import Source
from nearfar.errors import DataError
from nearfar.evaluation.knn import full_precision, unit_rows, vote
from nearfar.evaluation.linear import Scaler, fit_linear, fixed_strength
from nearfar.evaluation.task import TaskData, Vectors
from nearfar.evaluation.threads import one_thread

NEIGHBOURS = (20, 200)
TEMPERATURE = 0.1
_SMALL = 2**32
"""Multiplications of one kNN up to which one thread is as good as many: a few tenths of a second."""

FOLDS = 5


class Count(NamedTuple):
    """A number of labels, of each class or `in_all`; None: all there are."""

    labels: int | None = None
    in_all: bool = False


ALL = Count()


class Setting(NamedTuple):
    """What is fitted to how many labels."""

    probe: str
    k: int | None
    given: Count


@dataclass
class Probed:
    """By the setting of the probe: which test samples are right, `[M]` or of each draw `[R, M]`.

    `scores`, as `right`, are those of the second of two classes; `guess` `[M]` is the linear probe's with all labels.
    """

    right: dict[Setting, Tensor] = field(default_factory=dict)
    scores: dict[Setting, Tensor] = field(default_factory=dict)
    guess: Tensor | None = None


def judge(name: str, vectors: Vectors, chosen: Mapping[Count, list[Tensor]], data: TaskData) -> Probed:
    """What probes make of one system, given all labels and those of the rows `chosen` for each number of them."""
    found = Probed()
    if vectors.known:
        train, test = (x.float() for x in vectors.parts)
        with one_thread(train.device.type == "cpu" and train.numel() * len(test) <= _SMALL):
            _few_labels(found, train, test, chosen, data)
            _all_labels(found, name, vectors, data)
    if vectors.baseline is not None and data.train is not None and data.test is not None:
        _own_classifier(found, vectors, data.train, data.test, chosen, data)
    return found


def _few_labels(
    found: Probed, train: Tensor, test: Tensor, chosen: Mapping[Count, list[Tensor]], data: TaskData
) -> None:
    """Both probes with few labels, on every draw."""
    if not chosen:
        return
    train_labels, test_labels = data.labels
    bank, queries = unit_rows(train), unit_rows(test)
    scaler = Scaler.of(train)
    scaled, scaled_test = scaler.apply(train), scaler.apply(test)
    truth, names = test_labels.to(test.device), train_labels.to(train.device)
    classes = len(data.classes)
    for count, draws in chosen.items():
        knn, linear, scores = [], [], []
        k = NEIGHBOURS[0] if count.in_all else count.labels
        assert k is not None
        with one_thread(test.device.type == "cpu"), full_precision(test.device):
            for rows in (r.to(train.device) for r in draws):
                similarities, near = (queries @ bank[rows].T).topk(min(k, len(rows)), dim=1)
                guess = vote(similarities, names[rows][near], classes=classes, temperature=TEMPERATURE)
                knn.append(guess == truth)
                strength = None if count.in_all else fixed_strength(len(rows))
                folds = FOLDS if count.in_all else 0
                probe = fit_linear(
                    scaled[rows], names[rows], classes=classes, strength=strength, scaler=scaler, folds=folds
                )
                linear.append(probe.predict_standardised(scaled_test) == truth)
                if classes == 2:
                    scores.append(probe.margin_standardised(scaled_test))
        found.right[Setting("kNN", k, count)] = torch.stack(knn).cpu()
        found.right[Setting("linear", None, count)] = torch.stack(linear).cpu()
        if scores:
            found.scores[Setting("linear", None, count)] = torch.stack(scores).cpu()


def _all_labels(found: Probed, name: str, vectors: Vectors, data: TaskData) -> None:
    """Both probes with all labels."""
    train_labels, test_labels = data.labels
    train, test = (x.float() for x in vectors.parts)
    truth, names = test_labels.to(test.device), train_labels.to(train.device)
    similarities, near = vectors.nearest(max(NEIGHBOURS))
    for k in NEIGHBOURS:
        guess = vote(similarities[:, :k], names[near[:, :k]], classes=len(data.classes), temperature=TEMPERATURE)
        found.right[Setting("kNN", k, ALL)] = (guess == truth).cpu()
    probe = fit_linear(train, names, classes=len(data.classes), seed=data.seed, groups=data.train_groups)
    if not probe.converged:
        data.note(f"The linear probe of {name!r} had not converged after {probe.iterations} iterations.")
    if not probe.chosen and len(probe.labels) > 1:
        data.note("Too few labels per class to choose the strength of the linear probe: it is 0.1 / labels.")
    guess = probe.predict(test)
    found.right[Setting("linear", None, ALL)] = (guess == truth).cpu()
    found.guess = guess.cpu()
    if len(data.classes) == 2:
        found.scores[Setting("linear", None, ALL)] = probe.margin_standardised(probe.scaler.apply(test)).cpu()


def _own_classifier(
    found: Probed,
    vectors: Vectors,
    train: Source,
    test: Source,
    chosen: Mapping[Count, list[Tensor]],
    data: TaskData,
) -> None:
    """A baseline's own classifier in place of the linear probe, where it has one."""
    labels, truth = data.labels
    classes = len(data.classes)
    assert vectors.baseline is not None

    def ask(rows: Tensor | None) -> Tensor | None:
        some = train if rows is None else train.take(rows.numpy())
        assert vectors.baseline is not None
        made = vectors.baseline.classify(some, labels if rows is None else labels[rows], test, classes)
        if made is not None and made.shape != (len(truth), classes):
            raise DataError(f"Its classifier must give [{len(truth)}, {classes}], got {list(made.shape)}.")
        return made

    asked: dict[Count, list[Tensor | None]] = {ALL: [None]}
    asked.update({count: [*draws] for count, draws in chosen.items()})
    for count, draws in asked.items():
        answers = [made for rows in draws if (made := ask(rows)) is not None]
        if len(answers) < len(draws):
            continue
        right = torch.stack([made.argmax(dim=1) == truth for made in answers])
        found.right[Setting("linear", None, count)] = right[0] if count == ALL else right
        if classes == 2:
            scores = torch.stack([made[:, 1] for made in answers])
            found.scores[Setting("linear", None, count)] = scores[0] if count == ALL else scores
        if count == ALL:
            found.guess = answers[0].argmax(dim=1)
