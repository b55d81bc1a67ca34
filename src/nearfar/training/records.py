"""The records of a run in metrics.jsonl: when one is due, and what stands in it."""

import math
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nearfar.threads import waited_for_core
from nearfar.training.clock import Clock
from nearfar.training.plan import Plan
from nearfar.training.run_folder import RunFolder
from nearfar.training.state import State

_SHARE = 0.01  # of the run, between two records
_SECONDS = 30.0


class Records:
    """Sums up the steps since the last record, and writes the next one; of the sums, checkpoints keep the loss."""

    def __init__(self, plan: Plan, clock: Clock, folder: RunFolder, state: State) -> None:
        self._plan, self._clock, self._folder, self._state = plan, clock, folder, state
        self._written = time.monotonic()
        self._start(state.loss, state.steps)

    def _start(self, loss: float = 0.0, steps: int = 0) -> None:
        self._loss: Tensor | float = loss
        self._steps, self._samples = steps, 0
        self._waited = self._spent = 0.0
        self._began, self._without_core = time.perf_counter(), waited_for_core()

    def due(self, progress: float) -> bool:
        """Whether the step at this progress is to be recorded."""
        if self._plan.record_every is not None:
            return self._state.step % self._plan.record_every == 0
        late = time.monotonic() - self._written >= _SECONDS
        return late or progress - self._state.recorded >= _SHARE

    def add(self, loss: Tensor, *, samples: int, waited: float, spent: float) -> None:
        """Count a step, of whose `spent` seconds it `waited` so long for its data."""
        self._loss = loss.detach() + self._loss
        self._steps += 1
        self._samples += samples
        self._waited += waited
        self._spent += spent

    @property
    def mean_loss(self) -> float:
        """Of the steps since the last record; NaN of none."""
        return float(self._loss) / self._steps if self._steps else math.nan

    def keep(self) -> None:
        """Put the sum of the loss into the state, for a checkpoint."""
        self._state.loss, self._state.steps = float(self._loss), self._steps

    def write(self, progress: float, lr: float, figures: Mapping[str, float]) -> dict[str, Any]:
        """Write a record of the step just made, with these figures of it; returns it."""
        plan, state = self._plan, self._state
        spent = max(self._spent, 1e-9)
        found = {
            "loss": self.mean_loss,
            "samples_per_second": self._samples / spent,
            "data_wait": self._waited / spent,
            "processor_wait": (waited_for_core() - self._without_core) / (time.perf_counter() - self._began),
            **figures,
        }
        if plan.probe is not None and plan.probe_every and progress - state.probed >= plan.probe_every:
            state.probed = progress
            found |= plan.probe()
        record: dict[str, Any] = {
            "step": state.step,
            "epoch": plan.order.epoch(state.step - 1),
            "progress": round(progress, 5),
            "seconds": round(self._clock.elapsed, 3),
            "lr": lr,
            **{name: value for name, value in found.items() if math.isfinite(value)},  # json has no others
        }
        self._folder.append_metrics(record)
        self._written, state.recorded = time.monotonic(), progress
        self._start()
        return record
