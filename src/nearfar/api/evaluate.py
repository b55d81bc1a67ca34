"""Say how good an encoder is, next to the raw input and to the same encoder untrained."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nearfar.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from nearfar.api.judging import Judges
    from nearfar.contract import Encoder, Rows, Source
    from nearfar.evaluation.result import Evaluation


def evaluate(
    encoder: "Encoder | str | os.PathLike[str]",
    train: str | os.PathLike[str],
    test: str | os.PathLike[str] | None = None,
    *,
    seed: int | None = None,
    baselines: bool = True,
    device: str | None = None,
    cache: str = "auto",
    label_column: str | None = None,
) -> "Evaluation":
    """kNN and linear accuracy with few and with all labels of `train`, judged on `test`; with 95 % intervals.

    `encoder` is an encoder or a run folder. Without `test`, the data's own test split serves, else a stratified fifth
    of `train` keyed by the seed: by that of the run where none is given, which is the fifth whose labels no method saw.
    Data without labels gets the figures that need none. `cache` and `label_column` are as for `train`. Samples that
    cannot be read are left out, and counted in the notes. Raises UserError.
    """
    from nearfar.api.judging import Judges, judges_of, parts_of
    from nearfar.api.load import load_on
    from nearfar.api.sources import open_for, tell_unreadable
    from nearfar.modalities import registry
    from nearfar.modalities.opening import splits

    encoder, run = load_on(encoder, device)
    seed = int(encoder.config.get("seed", 0)) if seed is None else seed
    data, own_test = os.fspath(train), None
    if test is None:
        data, own_test = parts_of(data, splits(registry.load(encoder.config["modality"]), data))
    learnt = open_for(encoder, data, cache=cache, label_column=label_column)
    if test is None:
        judges = judges_of(encoder, learnt, own_test, seed=seed, cache=cache, label_column=label_column)
    else:
        judged = open_for(encoder, os.fspath(test), cache=cache, label_column=label_column)
        judges = Judges(test=judged)
        if judged.labels is None and learnt.labels is not None:
            raise DataError(f"{os.fspath(test)!r} has no labels to judge by.")
    found = compare_systems(measure(encoder, learnt, judges, baselines=baselines, run=run), seed=seed)
    found.notes.extend(tell_unreadable(learnt, judges.test))
    return found


@dataclass(frozen=True)
class Measured:
    """Systems (name -> train and test vectors, the trained encoder last) of the readable samples of two sources.

    Without a `test`, the samples `held` [M] of `train` judge; where none are, labels cannot.
    """

    systems: "dict[str, tuple[Tensor, Tensor | None]]"
    train: "Source"
    test: "Source | None"
    held: "Rows | None" = None
    encoders: "Mapping[str, Encoder]" = field(default_factory=dict)
    """Of those systems that are encoders."""

    @property
    def has_labels(self) -> bool:
        """Whether labels can judge: two classes to tell apart, and labelled samples to test on."""
        labels = self.train.labels
        if labels is None:
            return False
        sizes = np.unique(labels[labels >= 0], return_counts=True)[1]
        if self.test is None:
            return len(sizes) >= 2 and self.held is not None and 0 < len(self.held) < sizes.sum()
        return len(sizes) >= 2 and self.test.labels is not None and bool((self.test.labels >= 0).any())


def measure(
    encoder: "Encoder",
    train: "Source",
    judges: "Judges",
    *,
    baselines: bool = True,
    run: Path | None = None,
    embedded: "tuple[Tensor, Rows] | None" = None,
) -> Measured:
    """Embed sources by the encoder, and by what it must beat; `embedded` are the vectors of `train` if known."""
    from nearfar.api.baselines import RAW, TRAINED, UNTRAINED, untrained
    from nearfar.evaluation.embedding import embed_source, whiten

    test, held = judges.test, judges.held
    first, rows = embedded or embed_source(encoder, train)
    train = train.take(rows)
    if held is not None:
        held = np.flatnonzero(np.isin(rows, held))
    second = None
    if test is not None:
        second, rows = embed_source(encoder, test)
        test = test.take(rows)
    systems: dict[str, tuple[Tensor, Tensor | None]] = {}
    encoders = {TRAINED: encoder}
    if baselines:
        raw = train.vectors()
        if raw is not None:
            systems[RAW] = (raw, None if test is None else test.vectors())
        encoders = {UNTRAINED: (before := untrained(encoder, train, run)), TRAINED: encoder}
        vectors, _ = whiten(before, train) if encoder.config.get("whitened") else embed_source(before, train)
        systems[UNTRAINED] = (vectors, None if test is None else embed_source(before, test)[0])
    systems[TRAINED] = (first, second)
    return Measured(systems, train, test, held, encoders)


def compare_systems(
    measured: Measured, *, seed: int, views: "Mapping[str, tuple[Tensor, Tensor]] | None" = None
) -> "Evaluation":
    """The evaluation of measured systems: by labels where both parts have them, else by the figures without.

    `views` are, for some of the systems, the vectors of two views of the same samples.
    """
    import torch

    from nearfar.evaluation.run import judge_systems
    from nearfar.evaluation.task import TaskData, Vectors

    train, test = measured.train, measured.test
    labels = train.labels
    if labels is None or not measured.has_labels:
        systems = {name: Vectors(first) for name, (first, _) in measured.systems.items()}
        return judge_systems(systems, TaskData(views=views or {}, seed=seed))
    numbers = torch.from_numpy(labels)
    if test is None:
        assert measured.held is not None
        learnt, held = _apart(numbers, measured.held)
        systems = {name: Vectors(x[learnt], x[held]) for name, (x, _) in measured.systems.items()}
        return judge_systems(systems, TaskData(numbers[learnt], numbers[held], list(train.label_names), seed=seed))
    classes, there = common_classes(train, test)
    systems = {name: Vectors(first, second) for name, (first, second) in measured.systems.items()}
    return judge_systems(systems, TaskData(numbers, torch.tensor(there), classes, seed=seed))


def _apart(labels: "Tensor", held: "Rows") -> "tuple[Tensor, Tensor]":
    """The labelled samples that are not `held`, and those that are."""
    import torch

    kept = labels >= 0
    kept[torch.from_numpy(held)] = False
    return kept.nonzero()[:, 0], torch.from_numpy(held)


def common_classes(train: "Source", test: "Source") -> tuple[list[str], list[int]]:
    """The classes of both sources, the training ones first, and the test labels as numbers of these."""
    classes = list(train.label_names)
    classes += [name for name in test.label_names if name not in set(classes)]
    number = {name: i for i, name in enumerate(classes)}
    assert test.labels is not None
    there = [number[test.label_names[label]] if label >= 0 else -1 for label in test.labels.tolist()]
    return classes, there
