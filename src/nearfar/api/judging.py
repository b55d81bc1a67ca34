"""Which samples judge an encoder: the data's own test part, or else a fifth of the labelled samples.

No method ever learns from the labels of the samples that judge it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nearfar.api.sources import open_for
from nearfar.contract import Encoder, Rows, Source
from nearfar.data.splits import canonical
from nearfar.errors import DataError
from nearfar.evaluation.split import stratified_split

_TEST_NAMES = ("test", "val", "eval")
_log = logging.getLogger("nearfar")


@dataclass(frozen=True)
class Judges:
    """The samples that judge: those of the source `test`, else the rows `held_out` of the training part."""

    test: Source | None = None
    held_out: Rows | None = None


def parts_of(data: str, splits: Sequence[str]) -> tuple[str, str | None]:
    """The data's own train and test part, where it has both and none was asked for; else all of it and None."""
    named = {canonical(name): name for name in splits}
    test = next((named[name] for name in _TEST_NAMES if name in named), None)
    return (f"{data}:{named['train']}", f"{data}:{test}") if "train" in named and test else (data, None)


def judges_of(
    encoder: Encoder,
    train: Source,
    test: str | None,
    *,
    seed: int,
    **reading: Any,
) -> Judges:
    """The samples that judge the encoder: those of the part `test` of the data, where there is one and it can serve.

    `reading` goes to `open_for`.
    Where it cannot, a warning says why.
    """
    if test is not None:
        try:
            source = open_for(encoder, test, **reading)
            if source.labels is not None or train.labels is None:
                return Judges(test=source)
            _log.warning("%s has no labels, so a fifth of the training part is held out.", test)
        except DataError as error:
            _log.warning("The test part cannot be used, so a fifth of the training part is held out. %s", error)
    return Judges(held_out=hold_out(train, seed))


def hold_out(source: Source, seed: int) -> Rows | None:
    """A fifth of the labelled samples, of every class its share; None without two classes.

    They are chosen among all samples that are listed, and so are the same whatever turns out to be unreadable.
    """
    labels = source.labels
    if labels is None or len(np.unique(labels[labels >= 0])) < 2:
        return None
    return stratified_split(torch.from_numpy(labels), seed=seed)[1].numpy()
