"""The training loop: one file, read top to bottom."""

import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from nearfar import randomness
from nearfar.contract import Batch, Latents, Losses, Method, Rows, Source, Views
from nearfar.errors import DataError, TrainingError
from nearfar.training import checkpoint, cut, health, optimisers, schedule
from nearfar.training.checkpoint import Saved
from nearfar.training.clock import Clock
from nearfar.training.display import Display
from nearfar.training.folder import RunFolder
from nearfar.training.health import Alarm, Watchdog
from nearfar.training.interrupt import Interrupt
from nearfar.training.loader import Loader
from nearfar.training.order import Order
from nearfar.training.positives import Paired, Positives

_RECORD_SHARE = 0.01  # of the run, between two records
_RECORD_SECONDS = 30.0
_log = logging.getLogger("nearfar")

Probe = Callable[[], dict[str, float]]
ViewsOf = Callable[[Any, Rows], Views]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a run needs, settled and built."""

    method: Method
    source: Source
    labels: Rows | None = None
    """Class numbers [N] that the method may learn from, -1 for none; None where it learns without."""
    views: ViewsOf
    order: Order
    positives: Positives | None = None
    optimizer: Optimizer
    lr: float
    warmup: float
    seed: int
    device: torch.device
    clip: float | None = None
    autocast: torch.dtype | None = None
    record_every: int | None = None
    checkpoint_every: float = 60.0
    probe: Probe | None = None
    probe_every: float = 0.1


@dataclass
class State:
    """What changes while a run goes on, beside the weights; saved with each checkpoint."""

    step: int = 0
    elapsed: float = 0.0
    recorded: float = -1.0
    """Progress at the last record, and at the last probe: a resumed run makes its records at the same steps."""
    probed: float = 0.0
    alarms: list[Alarm] = field(default_factory=list)
    interrupted: bool = False


def restore(plan: Plan, saved: Saved) -> State:
    """Fill the plan's weights and optimiser from a checkpoint; raises RunError where it does not fit."""
    weights, tensors, state = saved
    checkpoint.restore_module(plan.method, weights)
    optimisers.load_state_tensors(plan.optimizer, dict(plan.method.named_parameters()), tensors)
    if state["data"] != _fingerprint(plan.source):
        _log.warning(
            "%s is no longer what the run began with (%d samples now): it goes on, but not as if it had never stopped.",
            plan.source.name,
            len(plan.source),
        )
    alarms = [Alarm(**alarm) for alarm in state["alarms"]]
    return State(
        step=state["step"], elapsed=state["elapsed"], recorded=state["recorded"], probed=state["probed"], alarms=alarms
    )


def fit(plan: Plan, clock: Clock, folder: RunFolder, state: State, display: Display) -> State:
    """Train in place until the clock is done or an interrupt is asked for; the last state is checkpointed.

    Raises TrainingError when the loss is no longer finite: the newest checkpoint is the last good state.
    """
    run = _Run(plan, clock, folder, state)
    plan.method.train()
    with Loader(plan.source, plan.order, plan.positives) as loader, Interrupt() as interrupt, display:
        while not clock.done(state.step, run.step_seconds):
            record = run.one(loader)
            done, left = clock.progress(state.step), clock.remaining(state.step)
            display.advance(done, left)
            if record is not None:
                display.show(done, record, left)
                for alarm in run.watchdog.look(state.step, record["progress"], record):
                    state.alarms.append(alarm)
                    display.alarm(alarm)
            if interrupt.asked:
                state.interrupted = True
                break
            run.save_when_due()
        if not state.step:
            raise TrainingError(
                f"The budget of {clock.seconds:g} s was spent before the first step: imports and reading the data took "
                f"{clock.elapsed:.1f} s. Start anew with a longer --budget, or with --steps."
            )
        run.save()
    return state


class _Run:
    """A run under way: what the loop keeps between two steps."""

    def __init__(self, plan: Plan, clock: Clock, folder: RunFolder, state: State) -> None:
        self.plan, self.clock, self.folder, self.state = plan, clock, folder, state
        self.watchdog = Watchdog(plan.order.batch_size)
        self.watchdog.raised += state.alarms
        self.step_seconds = 0.0
        labels = plan.labels
        self._labels = None if labels is None else torch.from_numpy(labels)
        groups = plan.source.groups
        self._groups = None if groups is None else torch.from_numpy(groups)
        self._data = _fingerprint(plan.source)
        self._saved = self._recorded = time.monotonic()
        self._since = _Since()

    def one(self, loader: Loader) -> dict[str, Any] | None:
        """One step; returns the record when one is due."""
        plan, state = self.plan, self.state
        progress = self.clock.progress(state.step)
        start = time.perf_counter()
        raw, rows, draws = loader.get(state.step)
        if len(rows) < 2:  # the others turned out unreadable: nothing to compare
            if len(plan.source.usable) < 2:
                raise DataError(f"Too few samples of {plan.source.name!r} can still be read to go on.")
            state.step += 1
            return None
        views = plan.views(raw, draws)
        for view in views:  # made now, so that the wait for them is told from the encoder's work
            del view
        ready = time.perf_counter()

        lr = schedule.learning_rate(progress, plan.lr, plan.warmup)
        schedule.set_lr(plan.optimizer, lr, progress)
        torch.manual_seed(randomness.seed_of(plan.seed, "embed", state.step))
        plan.optimizer.zero_grad(set_to_none=True)
        batch = self._batch(raw, rows, views, progress)
        losses, latents = cut.step(plan.method, views, batch, autocast=plan.autocast)
        if plan.clip is not None:
            torch.nn.utils.clip_grad_norm_(plan.method.parameters(), plan.clip)
        due = self._due(progress)
        if plan.device.type == "cpu" or due:  # on a GPU, asking for the value each step would wait for it
            self._must_be_finite(losses.total)
        plan.optimizer.step()
        plan.method.after_step(latents, batch)
        state.step += 1

        end = time.perf_counter()
        self.step_seconds = end - start
        self._since.add(losses.total, len(rows), ready - start, end - start)
        return self._record(progress, lr, losses, latents) if due else None

    def save_when_due(self) -> None:
        if time.monotonic() - self._saved >= self.plan.checkpoint_every:
            self.save()

    def save(self) -> None:
        plan, state = self.plan, self.state
        if not all(bool(parameter.isfinite().all()) for parameter in plan.method.parameters()):
            raise self._broken("A weight is no longer finite")
        state.elapsed = self.clock.elapsed
        tensors = optimisers.state_tensors(plan.optimizer, dict(plan.method.named_parameters()))
        kept = {
            "elapsed": state.elapsed,
            "recorded": state.recorded,
            "probed": state.probed,
            "data": self._data,
            "alarms": [vars(alarm) for alarm in state.alarms],
        }
        weights = checkpoint.module_tensors(plan.method)
        checkpoint.save(self.folder.path / "checkpoint", state.step, weights, tensors, kept)
        checkpoint.save_encoder(self.folder.path / "encoder", plan.method.encoder)
        self._saved = time.monotonic()

    def _batch(self, raw: Any, rows: Rows, views: Views, progress: float) -> Batch:
        at = torch.from_numpy(rows)
        device = self.plan.device
        ids, present, negative_ids = self.plan.source.ids[rows], None, None
        if isinstance(raw, Paired):
            ids = raw.ids
            if raw.negatives is not None:
                present = torch.ones(len(views), len(rows), dtype=torch.bool)
                present[views.wide - 1] = torch.from_numpy(raw.negatives.given)
                present, negative_ids = present.to(device), torch.from_numpy(raw.negatives.ids).to(device)
        labels = torch.full((len(rows),), -1) if self._labels is None else self._labels[at]
        return Batch(
            ids=torch.from_numpy(ids).to(device),
            labels=labels.to(device),
            groups=None if self._groups is None else self._groups[at].to(device),
            present=present,
            negative_ids=negative_ids,
            progress=progress,
        )

    def _due(self, progress: float) -> bool:
        if self.plan.record_every is not None:
            return self.state.step % self.plan.record_every == 0
        late = time.monotonic() - self._recorded >= _RECORD_SECONDS
        return late or progress - self.state.recorded >= _RECORD_SHARE

    def _record(self, progress: float, lr: float, losses: Losses, latents: Latents) -> dict[str, Any]:
        state = self.state
        figures = {
            **self._since.figures(),
            **{name: value.item() for name, value in losses.logs.items()},
            **health.figures(latents),
        }
        probe, share = self.plan.probe, self.plan.probe_every
        if probe is not None and share and progress - state.probed >= share:
            state.probed = progress
            figures.update(probe())
        record: dict[str, Any] = {
            "step": state.step,
            "epoch": self.plan.order.epoch(state.step - 1),
            "progress": round(progress, 5),
            "seconds": round(self.clock.elapsed, 3),
            "lr": lr,
            **{name: value for name, value in figures.items() if math.isfinite(value)},  # json has no others
        }
        self.folder.append_metrics(record)
        self._recorded, state.recorded = time.monotonic(), progress
        self._since = _Since()
        return record

    def _must_be_finite(self, loss: Tensor) -> None:
        value = loss.item()
        if not math.isfinite(value):
            raise self._broken(f"The loss is {value}")

    def _broken(self, what: str) -> TrainingError:
        place = self.folder.path / "checkpoint"
        kept = f"The last good state is in {str(place)!r}." if place.is_dir() else "Nothing was saved before it."
        return TrainingError(
            f"{what} at step {self.state.step}. {kept} Most likely the learning rate ({self.plan.lr:g}) is too high: "
            "start anew with --lr three times lower, or with --precision fp32."
        )


def _fingerprint(source: Source) -> str:
    """Names the data: other samples, or another number of them, give another."""
    found = hashlib.blake2b(digest_size=8)
    for key in source.keys:
        found.update(key.encode("utf-8", "surrogateescape") + b"\0")
    return found.hexdigest()


class _Since:
    """Sums since the last record."""

    def __init__(self) -> None:
        self._loss: Tensor | None = None
        self._steps = self._samples = 0
        self._waited = self._spent = 0.0

    def add(self, loss: Tensor, samples: int, waited: float, spent: float) -> None:
        loss = loss.detach()
        self._loss = loss if self._loss is None else self._loss + loss
        self._steps += 1
        self._samples += samples
        self._waited += waited
        self._spent += spent

    def figures(self) -> dict[str, float]:
        assert self._loss is not None
        spent = max(self._spent, 1e-9)
        return {
            "loss": self._loss.item() / self._steps,
            "samples_per_second": self._samples / spent,
            "data_wait": self._waited / spent,
        }
