"""A short training with some settings, as `nearfar train` trains, and how good its encoder is found."""

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch.optim import Optimizer

from nearfar.api import build, judge
from nearfar.api.judge import Judge, Score
from nearfar.api.prepare import Ready, prepare
from nearfar.config import Length, TrainConfig
from nearfar.contract import Method
from nearfar.errors import TrainingError
from nearfar.progress import hushed
from nearfar.training import loop
from nearfar.training.clock import Clock
from nearfar.training.display import Display
from nearfar.training.run_folder import RunFolder
from nearfar.training.state import State

Look = Callable[[int, Score], None]
"""Told the scores on the way, at the first, second ... of the shares; what it raises ends the trial."""


@dataclass(frozen=True)
class Trained:
    """What came of a short training."""

    ready: Ready
    score: Score
    steps: int
    seconds: float


@dataclass(frozen=True)
class Settings:
    """What a short training is made with: options, and its learning rate in units of the automatic one."""

    config: TrainConfig
    rate: float = 1.0


def start(settings: Settings, samples: int, size: int, folder: Path) -> Ready:
    """A training that sees so many `samples` of data of this `size`, ready to begin; raises UserError."""
    epochs = max(1, math.ceil(samples / size))
    watch = replace(settings.config.watch, knn_every=0.0, log=None)
    config = replace(settings.config, length=Length(epochs=epochs), watch=watch)
    ready = prepare(config, run=folder, inner=True)
    steps = max(1, samples // ready.config.optimisation.batch_size)
    optimisation = replace(ready.config.optimisation, lr=ready.config.optimisation.lr * settings.rate)
    config = replace(ready.config, optimisation=optimisation, length=Length(steps=steps))
    ready = replace(ready, config=config)
    plan = replace(
        ready.plan,
        lr=optimisation.lr,
        optimizer=optimizer_of(ready, ready.plan.method),
        record_every=max(1, steps // 4),
        probe=None,
    )
    return replace(ready, plan=plan)


def optimizer_of(ready: Ready, method: Method) -> Optimizer:
    """The optimiser of a method, as the settings of a short training have it."""
    return build.optimizer(ready.config, method, None)


def train(
    ready: Ready, chosen: Judge, folder: Path, *, shares: Sequence[float] = (), look: Look | None = None
) -> Trained:
    """Train in `folder`, which goes again, and ask the judge; at `shares` of the run too, for `look`.

    Raises KeyboardInterrupt where it is interrupted, and TrainingError as `nearfar.train` or where there is no score.
    """
    began, state, left = time.monotonic(), State(), list(shares)

    def on_the_way(done: float) -> None:
        if look is not None and left and left[0] <= done < 1:
            left.pop(0)
            score = judge.ask(chosen, ready)
            if score is not None and math.isfinite(score.value):
                look(len(shares) - len(left), score)

    shutil.rmtree(folder, ignore_errors=True)  # what a killed trial has left
    folder.mkdir(parents=True)
    clock = Clock(steps=ready.config.length.steps, started=began)
    try:
        with hushed():
            loop.fit(ready.plan, clock, RunFolder(folder), state, Display(quiet=True), look=on_the_way)
            if state.interrupted:
                raise KeyboardInterrupt
            score = judge.ask(chosen, ready)
            if score is None or not math.isfinite(score.value):
                raise TrainingError("There is no score: the encoder has collapsed, or samples cannot be read any more.")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Trained(ready, score, state.step, time.monotonic() - began)
