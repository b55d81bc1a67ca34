"""Say how good an encoder is, next to the raw input and to the same encoder untrained."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nearfar.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from nearfar.contract import Encoder, Rows, Source
    from nearfar.evaluation.result import Evaluation

_log = logging.getLogger("nearfar")


def evaluate(
    encoder: "Encoder | str | os.PathLike[str]",
    train: str | os.PathLike[str],
    test: str | os.PathLike[str] | None = None,
    *,
    seed: int | None = None,
    baselines: bool = True,
    device: str | None = None,
    cache: str = "auto",
) -> "Evaluation":
    """kNN and linear accuracy with few and with all labels of `train`, judged on `test`; with 95 % intervals.

    `encoder` is an encoder or a run folder. Without `test`, the data's own test split serves, else a stratified fifth
    of `train` keyed by the seed: by that of the run where none is given, which is the fifth whose labels no method saw.
    Data without labels gets the figures that need none. `cache` is as for `train`. Raises UserError.
    """
    from nearfar.api.load import load
    from nearfar.api.prepare import own_test
    from nearfar.api.sources import open_for
    from nearfar.modalities import registry
    from nearfar.modalities.opening import splits
    from nearfar.training.automatic import device_of

    run = None
    if isinstance(encoder, str | os.PathLike):
        run = Path(encoder)
        encoder = load(run)
    place, _ = device_of(device)
    encoder = encoder.to(place)
    first = os.fspath(train)
    if test is None:
        first, own = own_test(first, splits(registry.load(encoder.config["modality"]), first))
        learnt = open_for(encoder, first, cache=cache)
        judged = None if own is None else open_own_test(encoder, own, learnt, cache=cache)
    else:
        learnt, judged = (open_for(encoder, os.fspath(part), cache=cache) for part in (train, test))
        if judged.labels is None and learnt.labels is not None:
            raise DataError(f"{os.fspath(test)!r} has no labels to judge by.")
    seed = int(encoder.config.get("seed", 0)) if seed is None else seed
    held = None if judged else judges(learnt, seed)
    return compare_systems(measure(encoder, learnt, judged, baselines=baselines, run=run, held=held), seed=seed)


def judges(source: "Source", seed: int) -> "Rows | None":
    """The fifth of the labelled samples that judges an encoder where no other part does; None without two classes.

    It is chosen among all that are listed, and so is the same whatever turns out to be unreadable.
    """
    import torch

    from nearfar.evaluation.split import stratified_split

    labels = source.labels
    if labels is None or len(np.unique(labels[labels >= 0])) < 2:
        return None
    return stratified_split(torch.from_numpy(labels), seed=seed)[1].numpy()


def open_own_test(encoder: "Encoder", name: str, train: "Source", *, cache: str) -> "Source | None":
    """The data's own test part; None, with a warning, where it cannot serve: a part of `train` does then."""
    from nearfar.api.sources import open_for

    try:
        test = open_for(encoder, name, cache=cache)
    except DataError as error:
        _log.warning("The test part cannot be used, so a fifth of the training part is held out. %s", error)
        return None
    if test.labels is None and train.labels is not None:
        _log.warning("%s has no labels, so a fifth of the training part is held out.", name)
        return None
    return test


@dataclass(frozen=True)
class Measured:
    """Systems (name -> train and test vectors, the trained encoder last) of the readable samples of two sources.

    Without a `test`, the samples `held` [M] of `train` judge; where none are, labels cannot.
    """

    systems: "dict[str, tuple[Tensor, Tensor | None]]"
    train: "Source"
    test: "Source | None"
    held: "Rows | None" = None

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
    test: "Source | None" = None,
    *,
    baselines: bool = True,
    run: Path | None = None,
    held: "Rows | None" = None,
) -> Measured:
    """Embed loaded sources by the encoder and by what it must beat; `held` are the samples of `train` to judge by."""
    from nearfar.api.baselines import RAW, TRAINED, UNTRAINED, untrained
    from nearfar.evaluation.embedding import embed_source

    first, rows = embed_source(encoder, train)
    train = train.take(rows)
    if held is not None:
        held = np.flatnonzero(np.isin(rows, held))
    second = None
    if test is not None:
        second, rows = embed_source(encoder, test)
        test = test.take(rows)
    systems: dict[str, tuple[Tensor, Tensor | None]] = {}
    if baselines:
        before = untrained(encoder, train, run)
        raw = train.vectors()
        if raw is not None:
            systems[RAW] = (raw, None if test is None else test.vectors())
        systems[UNTRAINED] = (
            embed_source(before, train)[0],
            None if test is None else embed_source(before, test)[0],
        )
    systems[TRAINED] = (first, second)
    return Measured(systems, train, test, held)


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
