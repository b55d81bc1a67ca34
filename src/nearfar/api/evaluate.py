"""Say how good an encoder is, next to the raw input and to the same encoder untrained."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nearfar.api.baselines import RAW, TRAINED, UNTRAINED, untrained
from nearfar.api.judging import LEARNT_LABELS, Judges, judges_of, parts_of
from nearfar.api.load import load_on
from nearfar.api.sources import open_for, tell_unreadable
from nearfar.contract import Encoder, Rows, Source
from nearfar.errors import DataError
from nearfar.evaluation.copies import equal_rows, near_copies
from nearfar.evaluation.embedding import embed_source, whiten
from nearfar.evaluation.result import Evaluation
from nearfar.evaluation.run import judge_systems
from nearfar.evaluation.split import grouped_split
from nearfar.evaluation.task import TaskData, Vectors
from nearfar.modalities import registry
from nearfar.modalities.opening import splits


def evaluate(
    encoder: Encoder | str | os.PathLike[str],
    train: str | os.PathLike[str],
    test: str | os.PathLike[str] | None = None,
    *,
    seed: int | None = None,
    baselines: bool = True,
    device: str | None = None,
    cache: str = "auto",
    label_column: str | None = None,
    compile: bool = False,
) -> Evaluation:
    """kNN and linear accuracy with few and with all labels of `train`, judged on `test`; with 95 % intervals.

    `encoder` is an encoder or a run folder. Without `test`, the data's own test split serves, else a stratified fifth
    of `train` keyed by the seed: by that of the run where none is given, which is the fifth whose labels no method saw.
    Data without labels gets the figures that need none. Copies of a sample never stand on both sides of a split that is
    made here. `cache`, `label_column` and `compile` are as for `train`. Samples that cannot be read are left out, and
    named in the notes. Raises UserError.
    """
    encoder, run = load_on(encoder, device, compile=compile)
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

    Without a `test`, samples of `train` judge: the rows `held` where the encoder has learnt from labels.
    """

    systems: Mapping[str, tuple[Tensor, Tensor | None]]
    encoders: Mapping[str, Encoder]
    """Of those systems that are encoders."""
    train: Source
    test: Source | None = None
    held: Rows | None = None
    notes: Sequence[str] = ()

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
    encoder: Encoder,
    train: Source,
    judges: Judges,
    *,
    baselines: bool = True,
    run: Path | None = None,
    embedded: tuple[Tensor, Rows] | None = None,
    most: int | None = None,
) -> Measured:
    """Embed sources by the encoder, and by what it must beat.

    `embedded` are the vectors of `train` and their rows, where they are known. Of each source no more than `most`
    samples are looked at, evenly taken.
    """
    vectors, rows = embedded or embed_source(encoder, train)
    some = _evenly(len(rows), most)
    train, held, notes = train.take(rows[some]), judges.held, list[str]()
    if held is not None:
        held = np.flatnonzero(np.isin(rows[some], held))
    if len(some) < len(rows):
        notes.append(f"To save time, {len(some):,} of {len(rows):,} samples were looked at.")
    test, judged = judges.test, None
    if test is not None:
        judged, kept = embed_source(encoder, test := test.take(_evenly(len(test), most)))
        test = test.take(kept)
    systems: dict[str, tuple[Tensor, Tensor | None]] = {}
    encoders = {TRAINED: encoder}
    if baselines:
        raw = train.vectors()
        if raw is not None:
            systems[RAW] = (raw, None if test is None else test.vectors())
        encoders = {UNTRAINED: (before := untrained(encoder, train, run)), TRAINED: encoder}
        first, _ = whiten(before, train) if encoder.config.get("whitened") else embed_source(before, train)
        systems[UNTRAINED] = (first, None if test is None else embed_source(before, test)[0])
    systems[TRAINED] = (vectors[torch.from_numpy(some)], judged)
    return Measured(systems, encoders, train, test, held, notes)


def compare_systems(
    measured: Measured, *, seed: int, views: Mapping[str, tuple[Tensor, Tensor]] | None = None
) -> Evaluation:
    """The evaluation of measured systems: by labels where both parts have them, else by the figures without.

    `views` are, for some of the systems, the vectors of two views of the same samples.
    """
    train, test = measured.train, measured.test
    notes, labels = list(measured.notes), train.labels
    if labels is None or not measured.has_labels:
        systems = {name: Vectors(first) for name, (first, _) in measured.systems.items()}
        return judge_systems(systems, TaskData(views=views or {}, seed=seed, notes=notes))
    numbers = torch.from_numpy(labels)
    if test is None:
        learnt, held, copies = _own_split(measured, numbers, seed)
        systems = {name: Vectors(x[learnt], x[held]) for name, (x, _) in measured.systems.items()}
        data = TaskData(numbers[learnt], numbers[held], list(train.label_names), seed=seed, notes=notes + copies)
        return judge_systems(systems, data)
    classes, there = common_classes(train, test)
    systems = {name: Vectors(first, second) for name, (first, second) in measured.systems.items()}
    if same := int(equal_rows(*systems[TRAINED].parts).sum()):
        notes.append(f"{same:,} of {len(test):,} test samples are the same as a training sample: they are too easy.")
    return judge_systems(systems, TaskData(numbers, torch.tensor(there), classes, seed=seed, notes=notes))


def _evenly(count: int, most: int | None) -> Rows:
    """The rows of all samples, or of so many of them."""
    if most is None or count <= most:
        return np.arange(count, dtype=np.int64)
    return np.unique(np.linspace(0, count - 1, most).astype(np.int64))


def _own_split(measured: Measured, labels: Tensor, seed: int) -> tuple[Tensor, Tensor, list[str]]:
    """The rows to learn from and those to judge by, no copies on both sides, and a note on copies.

    Where the encoder has learnt from labels, those of the samples `held` alone were kept from it, and the ones of them
    that have a copy on the other side are left out. Else copies are brought together on one side.
    """
    train, held = measured.train, torch.from_numpy(measured.held)
    learnt = labels >= 0
    learnt[held] = False
    rows = learnt.nonzero()[:, 0]
    ids = [train.ids] if train.groups is None else [train.ids, train.groups]
    copies = near_copies(measured.systems[TRAINED][0], *ids, classes=len(train.label_names))
    if not copies.count:
        return rows, held, []
    groups = torch.from_numpy(copies.groups)
    if not measured.encoders[TRAINED].config.get(LEARNT_LABELS, True):
        found = f"{copies.count:,} samples are copies or near-copies of others, or of their group"
        return *grouped_split(labels, groups, seed=seed), [f"{found}: these stand on one side of the split."]
    apart = ~torch.isin(groups[held], groups[rows])
    count = int((~apart).sum())
    if not count:
        return rows, held, []
    found = f"{count:,} of {len(held):,} samples that judge are copies or near-copies of samples learnt from"
    if 2 * count > len(held):
        return rows, held, [f"{found}: the figures flatter."]
    return rows, held[apart], [f"{found}, and left out."]


def common_classes(train: Source, test: Source) -> tuple[list[str], list[int]]:
    """The classes of both sources, the training ones first, and the test labels as numbers of these."""
    classes = list(train.label_names)
    classes += [name for name in test.label_names if name not in set(classes)]
    number = {name: i for i, name in enumerate(classes)}
    assert test.labels is not None
    there = [number[test.label_names[label]] if label >= 0 else -1 for label in test.labels.tolist()]
    return classes, there
