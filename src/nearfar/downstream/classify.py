"""Classify: a linear head that starts as the linear probe, and whose probabilities are calibrated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from nearfar.contract import Encoder, Method, Rows, Source
from nearfar.downstream.calibration import calibration_error, temperature
from nearfar.downstream.labels import held_back
from nearfar.downstream.task import Downstream, Judged, Predictor, Record, configured, head_of
from nearfar.errors import DataError, RunError
from nearfar.evaluation.auc import auc_rows
from nearfar.evaluation.embedding import embed_source
from nearfar.evaluation.intervals import FIGURE, Interval, over_draws
from nearfar.evaluation.linear import LinearProbe, Scaler, fit_linear
from nearfar.evaluation.task import TRAINED, Role, Row, rows_over_draws, rows_over_samples
from nearfar.files import plain, write, write_json
from nearfar.methods.classify import Classify, LinearHead
from nearfar.training.encoder_folder import load_weights, packed

_SHARE = 0.1  # of the labels, which calibrate
_LEAST, _LEAST_PER_CLASS = 100, 10  # labels in all, and in the mean of a class, of which some are held back
_UNEQUAL = 3  # times as many samples as the smallest class
_UNSEEN = 5.0  # by how much a class without a label is scored below all others at the start


@dataclass
class Told(Judged):
    """What a classifier says of the samples that judge, [M] each: what it takes them for, how sure it is, the truth.

    `at` numbers the samples for good, so that those of several classifiers can be matched.
    """

    at: Tensor
    guess: Tensor
    confidence: Tensor
    truth: Tensor
    unscaled: Tensor
    """The confidence before calibration."""
    calibrated_by: int
    """Samples that the temperature was chosen on."""
    second: Tensor | None = None
    """Of two classes, the probability of the second one."""
    notes: list[str] = field(default_factory=list)

    @property
    def right(self) -> Tensor:
        """Whether each is named rightly."""
        return torch.eq(self.guess, self.truth)

    @property
    def balanced(self) -> Tensor:
        """What each sample adds to the balanced accuracy, the mean of the accuracies of the classes."""
        classes, at, sizes = torch.unique(self.truth, return_inverse=True, return_counts=True)
        found: Tensor = self.right.double() * len(self.truth) / (len(classes) * sizes[at])
        return found

    @property
    def rows(self) -> Sequence[Row]:
        """Of its encoder and head."""
        return rows_of({TRAINED: [self]}, {}, task="head")

    def some(self, at: Tensor) -> "Told":
        """The same of these samples alone."""
        kept = torch.isin(self.at, at)
        of: dict[str, Any] = {n: value[kept] for n, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **of)

    def to_json(self) -> dict[str, Any]:
        """Lists of numbers."""
        found: dict[str, Any] = plain(vars(self))
        return found


def rows_of(found: Mapping[str, Sequence[Told]], setting: Mapping[str, str | int], *, task: str) -> list[Row]:
    """Accuracy, of two classes ROC AUC too, of unequal ones balanced accuracy, and the calibration error."""
    shared = next(iter(found.values()))[0].at
    for told in chain.from_iterable(found.values()):
        shared = shared[torch.isin(shared, told.at)]
    table = {name: [one.some(shared) for one in draws] for name, draws in found.items()}
    first = next(iter(table.values()))[0]
    sizes = torch.unique(first.truth, return_counts=True)[1]
    chance = max(1 / len(sizes), float(sizes.max()) / float(sizes.sum()))

    def over(metric: str, value: Callable[[Told], Tensor], chance: float, role: Role) -> list[Row]:
        values = {name: torch.stack([value(one).double() for one in draws]) for name, draws in table.items()}
        if len(next(iter(table.values()))) > 1:
            return rows_over_draws(task, metric, setting, values, chance=chance, role=role)
        return rows_over_samples(
            task, metric, setting, {name: x[0] for name, x in values.items()}, chance=chance, role=role
        )

    rows = over("accuracy", lambda one: one.right, chance, "judged")
    if int(sizes.max()) > _UNEQUAL * int(sizes.min()):
        rows += over("balanced accuracy", lambda one: one.balanced, 1 / len(sizes), "shown")
    scores = {n: [one.second for one in draws if one.second is not None] for n, draws in table.items()}
    if all(len(scores[name]) == len(table[name]) for name in table):
        shaped = {name: torch.stack(some) if len(some) > 1 else some[0] for name, some in scores.items()}
        rows += auc_rows(task, setting, shaped, first.truth)
    for metric, sure in (("calibration error", False), ("before calibration", True)):
        for name, draws in table.items():
            errors = [calibration_error(one.unscaled if sure else one.confidence, one.right) for one in draws]
            value = (
                over_draws(torch.tensor(errors))
                if len(errors) > 1
                else Interval(errors[0], errors[0], errors[0], FIGURE, 1)
            )
            rows.append(Row(name, task, metric, setting, value, higher_is_better=False, role="shown"))
    return rows


class Classifier(Predictor):
    """An encoder with a linear head: the class of each sample, its probability, and those of all classes."""

    def __init__(self, encoder: Encoder, head: LinearHead, classes: Sequence[str], scale: float) -> None:
        self.encoder = encoder
        self.head = head.eval()
        self.classes = list(classes)
        self.temperature = scale
        self.fields = {"prediction": str, "probability": float, **{f"p({name})": float for name in self.classes}}

    @torch.no_grad()
    def probabilities(self, vectors: Tensor) -> Tensor:
        """Of each class [b, K] for vectors [b, dim] of the encoder, on the CPU."""
        found: Tensor = (self.head(vectors.float()) / self.temperature).softmax(-1)
        return found.cpu()

    def predict(self, raw: Any) -> list[Record]:
        """The most probable class, its probability, and that of each class."""
        found = self.probabilities(self.encoder.vectors(self.encoder.prepare(raw)))
        records: list[Record] = []
        for values, best in zip(found.tolist(), found.argmax(1).tolist(), strict=True):
            every = dict(zip(list(self.fields)[2:], values, strict=True))
            records.append({"prediction": self.classes[best], "probability": values[best], **every})
        return records


class ClassifyTask(Downstream):
    """A linear head under cross-entropy."""

    name = "classify"
    unlabelled: ClassVar[str] = "are not learnt from"
    """What samples without a label are for."""
    probes = True
    protocol = (
        "Probabilities are calibrated by labels that were held back; the calibration error is that of the test samples."
    )
    meanings: ClassVar[Mapping[str, str]] = {
        "calibration error": "How far the probabilities that are told are from how often they are right, in the mean.",
        "before calibration": "The same of the probabilities before they were calibrated.",
        "balanced accuracy": "The mean of the accuracies of the classes.",
    }

    def hold_back(self, labels: Rows, at: Rows, seed: int) -> Rows:
        """A tenth of the labels, of every class its share, where there are enough of them."""
        classes, sizes = np.unique(labels[labels >= 0], return_counts=True)
        if sizes.sum() < max(_LEAST, _LEAST_PER_CLASS * len(classes)):
            return np.empty(0, dtype=np.int64)
        return held_back(labels, at, _SHARE, seed)

    def begin(self, method: Method, source: Source, labels: Rows, *, seed: int) -> None:
        """The head starts as the linear probe of the encoder's vectors."""
        made = head_of(method, Classify)
        rows = np.flatnonzero(labels >= 0)
        vectors, kept = embed_source(made.encoder, source.take(rows), show=False)
        numbers = torch.from_numpy(labels[rows][kept])
        probe = _fitted(vectors, numbers, made.options.classes, seed)
        weight, bias = over_all_classes(probe, made.options.classes)
        counts = torch.bincount(numbers, minlength=made.options.classes).float()
        device = made.head.mean.device
        start = probe.scaler.mean, probe.scaler.factor, weight, bias, counts
        made.start(*(value.to(device) for value in start))

    def finish(
        self, method: Method, source: Source, held_back: Rows, judges: Source | None, folder: Path
    ) -> Told | None:
        """Calibrate the head by the samples held back, and write it."""
        made = head_of(method, Classify)
        scale = 1.0
        if len(held_back):
            some = source.take(held_back)
            vectors, rows = embed_source(made.encoder, some, show=False)
            assert some.labels is not None
            scale = temperature(scores_of(made.head, vectors), torch.from_numpy(some.labels[rows]))
        write(folder / "model.safetensors", packed(made.head.state_dict()))
        config = {
            "task": self.name,
            "classes": list(source.label_names),
            "temperature": scale,
            "calibrated_by": len(held_back),
        }
        write_json(folder / "config.json", config)
        if judges is None or judges.labels is None or not (judges.labels >= 0).any():
            return None
        found = told(Classifier(made.encoder, made.head, source.label_names, scale), judges, source, len(held_back))
        found.notes += notes_of(source, len(held_back), self.unlabelled)
        return found

    def judged(self, stored: Mapping[str, Any]) -> Told:
        """The lists of numbers as tensors."""
        try:
            values: dict[str, Any] = {**stored, "notes": [str(note) for note in stored["notes"]]}
            for name, value in stored.items():
                if name != "notes" and isinstance(value, list):
                    values[name] = torch.tensor(value)
            return Told(**values)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"What was judged cannot be read: {str(error)[:200]}.") from None

    def probe(
        self, encoder: Encoder, source: Source, labels: Rows, held_back: Rows, judges: Source, *, seed: int
    ) -> Told:
        """The linear probe of the frozen vectors, calibrated as a trained head is."""
        vectors, rows = embed_source(encoder, source, show=False)
        numbers = torch.from_numpy(labels[rows])
        classes = len(source.label_names)
        probe = _fitted(vectors[numbers >= 0], numbers[numbers >= 0], classes, seed)
        head = LinearHead(encoder.dim, classes)
        with torch.no_grad():
            weight, bias = over_all_classes(probe, classes)
            for own, value in (
                (head.mean, probe.scaler.mean),
                (head.factor, probe.scaler.factor),
                (head.layer.weight, weight),
                (head.layer.bias, bias),
            ):
                own.copy_(value)
        back = np.isin(rows, held_back)
        assert source.labels is not None
        known = torch.from_numpy(source.labels[rows[back]])
        scale = temperature(scores_of(head, vectors[back]), known) if len(known) else 1.0
        return told(Classifier(encoder, head, source.label_names, scale), judges, source, len(known))

    def compare(self, found: Mapping[str, Sequence[Judged]], setting: Mapping[str, str | int]) -> list[Row]:
        """Accuracy and what goes with it."""
        told = {name: [one for one in draws if isinstance(one, Told)] for name, draws in found.items()}
        return rows_of(told, setting, task="fine-tuning")

    def predictor(self, encoder: Encoder, folder: Path) -> Classifier:
        """The classifier that was written."""
        path = folder / "config.json"
        config = configured(path)
        try:
            classes, scale = [str(name) for name in config["classes"]], float(config["temperature"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{str(path)!r} does not describe a head: {str(error)[:200]}") from None
        if not classes or not 0 < scale < float("inf"):
            raise RunError(f"{str(path)!r} does not describe a head: {len(classes)} classes, temperature {scale}.")
        head = LinearHead(encoder.dim, len(classes))
        load_weights(folder / "model.safetensors", head)
        return Classifier(encoder, head.to(encoder.device), classes, scale)


def _fitted(vectors: Tensor, labels: Tensor, classes: int, seed: int) -> LinearProbe:
    """The probe that a head starts as, of vectors [N, dim] with labels [N].

    A dimension that hardly differs among them, as of a network with ReLU where it is nearly always 0, is not lengthened
    to unit spread: inputs in which it does differ, such as views, or samples of another domain, would be hundreds of
    times as long as these, and the head's steps with them.
    """
    scaler = Scaler.of(vectors, least=1.0)
    return fit_linear(scaler.apply(vectors), labels, classes=classes, seed=seed, scaler=scaler)


def over_all_classes(probe: LinearProbe, classes: int) -> tuple[Tensor, Tensor]:
    """The probe's weight [K, dim] and bias [K] for all classes: one that it has not seen is scored below all others."""
    weight = probe.weight.new_zeros(classes, probe.weight.shape[1]).index_copy_(0, probe.labels, probe.weight)
    bias = probe.bias.new_full((classes,), float(probe.bias.min()) - _UNSEEN)
    return weight, bias.index_copy_(0, probe.labels, probe.bias)


@torch.no_grad()
def scores_of(head: LinearHead, vectors: Tensor) -> Tensor:
    """The head's scores [N, K] of vectors [N, dim], on the CPU."""
    found: Tensor = head(vectors.to(head.mean.device))
    return found.cpu()


def told(classifier: Classifier, judges: Source, train: Source, calibrated_by: int) -> Told:
    """What a classifier says of the labelled samples of a source; a class that `train` has not counts as wrong."""
    assert judges.labels is not None
    judged = judges.take(np.flatnonzero(judges.labels >= 0))
    vectors, rows = embed_source(classifier.encoder, judged, show=False)
    judged = judged.take(rows)
    assert judged.labels is not None
    number = {name: i for i, name in enumerate(classifier.classes)}
    names = [judged.label_names[label] for label in judged.labels.tolist()]
    assert train.labels is not None
    seen = {train.label_names[label] for label in np.unique(train.labels[train.labels >= 0]).tolist()}
    unknown = sorted(set(names) - seen)
    number |= {name: len(number) + i for i, name in enumerate(unknown)}
    truth = torch.tensor([number[name] for name in names])
    scores = scores_of(classifier.head, vectors)
    plain, scaled = scores.softmax(1), (scores / classifier.temperature).softmax(1)
    found = Told(
        torch.from_numpy(judged.at), scaled.argmax(1), scaled.amax(1), truth, plain.amax(1), calibrated_by,
        second=scaled[:, 1] if len(classifier.classes) == 2 else None,
    )  # fmt: skip
    if unknown:
        lost = sum(name in unknown for name in names)
        found.notes.append(
            f"{lost} samples that judge are of classes without a training sample ({', '.join(unknown[:5])}): they "
            "count as wrong."
        )
    return found


def notes_of(source: Source, calibrated_by: int, unlabelled: str) -> list[str]:
    """What to know of the labels of a training part; `unlabelled` says what samples without one are for."""
    labels = source.labels
    assert labels is not None
    sizes = np.bincount(labels[labels >= 0], minlength=len(source.label_names))
    notes = []
    if missing := int((labels < 0).sum()):
        notes.append(f"{missing} of {len(labels)} training samples have no label, and {unlabelled}.")
    if single := [source.label_names[i] for i in np.flatnonzero(sizes == 1).tolist()]:
        notes.append(f"{_counted(len(single))} one training sample: {', '.join(single[:5])}.")
    there = sizes[sizes > 0]
    if len(there) and there.max() > _UNEQUAL * there.min():
        notes.append(
            f"Classes are unequal ({there.min()} to {there.max()} training samples): --balanced weighs them alike."
        )
    if calibrated_by:
        notes.append(f"Probabilities are calibrated by {calibrated_by} training samples that were held back.")
    else:
        notes.append("There are too few labels to hold some back: probabilities are not calibrated.")
    return notes


def _counted(classes: int) -> str:
    return "1 class has" if classes == 1 else f"{classes} classes have"


TASK = ClassifyTask()
