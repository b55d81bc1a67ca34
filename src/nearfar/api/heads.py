"""Heads of methods that name something: their start before the first step, and what is written after the last."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from nearfar.config import TrainConfig
from nearfar.contract import Method, Rows, Source
from nearfar.downstream import registry
from nearfar.downstream.labels import amount, drawn
from nearfar.downstream.task import HEAD, Downstream, Judged
from nearfar.errors import ConfigError
from nearfar.files import write_json
from nearfar.training.norms import settle_norms

if TYPE_CHECKING:
    from nearfar.api.prepare import Ready


def task_of(method: Method | type[Method]) -> Downstream | None:
    """The task whose head a method trains; None where it trains none."""
    return None if method.downstream is None else registry.load(method.downstream)


JUDGED = "judged.json"


def hold_back(
    config: TrainConfig, methods: Sequence[type[Method]], source: Source, labels: Rows | None
) -> tuple[Rows | None, Rows]:
    """The labels [N] that are learnt from, of those that may be, and the rows that the head is calibrated by.

    Raises ConfigError for an amount of labels where none are learnt from.
    """
    given, seed, none = config.data.labels, config.machine.seed, np.empty(0, dtype=np.int64)
    if labels is None:
        if given is not None:
            raise ConfigError("--labels is for methods that learn from labels: leave it out, or take another --method.")
        return None, none
    if given is not None:
        labels = drawn(labels, source.at, amount(given), config.data.label_draw or 0, seed)
    task = next((found for method in methods if (found := task_of(method)) is not None), None)
    held_back = none if task is None else task.hold_back(labels, source.at, seed)
    if len(held_back):
        labels = labels.copy()
        labels[held_back] = -1
    return labels, held_back


def begin(config: TrainConfig, method: Method, source: Source, labels: Rows | None) -> dict[str, Tensor]:
    """Give the head of a new run its start; returns the buffers that the encoder had, which the task may change."""
    task = task_of(method)
    if task is None or labels is None:
        return {}
    if config.model.pretrained is None:
        settle_norms(method.encoder, source)
    buffers = dict(method.encoder.named_buffers())
    came = {name: value.clone() for name, value in method.encoder.state_dict().items() if name in buffers}
    task.begin(method, source, labels, seed=config.machine.seed)
    return came


def complete(ready: "Ready") -> bool:
    """Let the task change the trained encoder of a run before it is written; whether it did."""
    task = task_of(ready.plan.method)
    return task is not None and task.complete(ready.plan.method, ready.source)


def finish(ready: "Ready", run: Path) -> Judged | None:
    """Write the head of a run, and what it is worth; None where it has none, or nothing judges."""
    task = task_of(ready.plan.method)
    if task is None:
        return None
    folder, judges = run / HEAD, ready.judges.source(ready.source)
    folder.mkdir(exist_ok=True)
    found = task.finish(ready.plan.method, ready.source, ready.held_back, judges, folder)
    if found is not None:
        write_json(folder / JUDGED, found.to_json())
    return found
