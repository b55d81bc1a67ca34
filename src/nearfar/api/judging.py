"""Which samples judge an encoder: the data's own test part, or else a fifth of the samples.

No method ever learns from the labels of the samples that judge it. Where pairs judge, they are taken out of the
training part before anything sees it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch

from nearfar.api.sources import open_for
from nearfar.contract import Encoder, Modality, Rows, Source
from nearfar.data.splits import canonical
from nearfar.errors import DataError
from nearfar.evaluation.split import grouped_split, linked_split, stratified_split
from nearfar.evaluation.tasks import load
from nearfar.modalities.opening import suited

_TEST_NAMES = ("test", "val", "eval")
_LEAST_PAIRS = 10
_log = logging.getLogger("nearfar")


@dataclass(frozen=True)
class Judges:
    """The samples that judge: those of the source `test`, else the rows `held_out` of the training part."""

    test: Source | None = None
    held_out: Rows | None = None

    def source(self, train: Source) -> Source | None:
        """The samples themselves, `train` being the training part; None where there are none."""
        return self.test if self.held_out is None else train.take(self.held_out)


def parts_of(data: str, splits: Sequence[str]) -> tuple[str, str | None]:
    """The data's own train and test part, where it has both and none was asked for; else all of it and None."""
    named = {canonical(name): name for name in splits}
    test = next((named[name] for name in _TEST_NAMES if name in named), None)
    return (f"{data}:{named['train']}", f"{data}:{test}") if "train" in named and test else (data, None)


def split_off(modality: Modality, train: Source, test: str | None, seed: int) -> tuple[Source, Source | None]:
    """The part to train on and the part to judge by, where what belongs together is itself what is learnt and judged.

    Without such data, or where there is a test part, all of it and None.
    """
    if test is not None:
        return train, None
    found = train.split(seed)
    if found is None and train.labels is None and any(task.of_pairs for task in load(modality.tasks)):
        found = _split_pairs(train, seed)
    return (train, None) if found is None else (train.take(found[0]), train.take(found[1]))


def judges_of(
    encoder: Encoder,
    train: Source,
    test: str | None,
    taken_out: Source | None = None,
    *,
    seed: int,
    **reading: Any,
) -> Judges:
    """The samples that judge the encoder: those of the part `test` of the data, where there is one and it can serve.

    Of an encoder that has learnt from all labels, no others can judge. Where the part cannot, a warning says why. Those
    that `split_off` has `taken_out` come before all else. `reading` goes to `open_for`.
    """
    if taken_out is not None:
        return Judges(test=suited(taken_out, encoder.config))
    if test is not None:
        try:
            source = open_for(encoder, test, **reading)
            if source.labels is not None or train.labels is None:
                return Judges(test=source)
            _log.warning("%s has no labels, so a fifth of the training part is held out.", test)
        except DataError as error:
            _log.warning("The test part cannot be used, so a fifth of the training part is held out. %s", error)
    return Judges(held_out=hold_out(train, seed) if encoder.config.get("holds_out", True) else None)


def hold_out(source: Source, seed: int) -> Rows | None:
    """A fifth of the labelled samples, of every class its share, no group on both sides; None without two classes.

    They are chosen among all samples that are listed, and so are the same whatever turns out to be unreadable.
    """
    if source.annotations is not None:
        return source.annotations.divide(source.at, seed)[1]
    labels = source.labels
    if labels is None or len(np.unique(labels[labels >= 0])) < 2:
        return None
    numbers, groups = torch.from_numpy(labels), source.groups
    if groups is not None and len(np.unique(groups)) < len(groups):
        held = grouped_split(numbers, torch.from_numpy(groups), seed=seed)[1].numpy()
        if len(held):
            return held
        _log.warning("%s: no group can be held out, so that samples of one group judge each other.", source.name)
    return stratified_split(numbers, seed=seed)[1].numpy()


def _split_pairs(train: Source, seed: int) -> tuple[Rows, Rows] | None:
    """A fifth of the pairs, with all that shows the same as one of its samples; None where there are no pairs."""
    positives = train.positives
    if positives is None or len(train) < _LEAST_PAIRS:
        return None
    names: dict[object, int] = {}
    whole = train.whole

    def number(row: int) -> int:
        path = whole.path(row)
        return names.setdefault(blake2b(whole.bytes(row)).digest() if path is None else path, len(names))

    links = [[number(one), number(other)] for one, other in zip(train.at.tolist(), positives.at.tolist(), strict=True)]
    first, second = linked_split(np.array(links, dtype=np.int64), seed=seed)
    return first.numpy(), second.numpy()
