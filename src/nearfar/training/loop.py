"""The training loop: one file, read top to bottom."""

import hashlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from nearfar import randomness
from nearfar.contract import Batch, Latents, Losses, Method, Rows, Source, Views
from nearfar.errors import DataError, RunError, TrainingError
from nearfar.training import checkpoint, encoder_folder, health, optimisers, schedule
from nearfar.training.alarms import Alarm, Watchdog
from nearfar.training.batches import Batches
from nearfar.training.checkpoint import Saved
from nearfar.training.clock import Clock
from nearfar.training.display import Display
from nearfar.training.finite import Finite, norm_of
from nearfar.training.interrupt import Interrupt
from nearfar.training.loader import Loader
from nearfar.training.order import Order
from nearfar.training.positives import Positives
from nearfar.training.ranks import ALONE, OutOfMemory, Ranks, Shares
from nearfar.training.run_folder import RunFolder
from nearfar.training.statistics import normalises
from nearfar.training.step import training_step
from nearfar.training.syncnorm import synchronised

_LATER = ("loss", "steps", "micro_batch")  # not in the checkpoints of earlier versions
_WHOLE = ("step", "steps", "micro_batch")
_LEAST = {"recorded": -1, "loss": -math.inf, "micro_batch": 1}
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
    ranks: Ranks = ALONE
    ring: bool = False
    """Whether latents stay with their ranks, and only pass by the others in the loss."""
    micro_batch: int | None = None
    clip: float | None = None
    autocast: torch.dtype | None = None
    record_every: int | None = None
    checkpoint_every: float = 60.0
    probe: Probe | None = None
    probe_every: float = 0.1
    advice: Mapping[str, str] = field(default_factory=dict)
    """What to change for this kind of data, by the name of the alarm."""


@dataclass
class State:
    """What changes while a run goes on, beside the weights; saved with each checkpoint."""

    step: int = 0
    elapsed: float = 0.0
    recorded: float = -1.0
    """Progress at the last record, and at the last probe: a resumed run makes its records at the same steps."""
    probed: float = 0.0
    loss: float = 0.0
    """The sum of the losses of the `steps` since the last record."""
    steps: int = 0
    micro_batch: int | None = None
    """Less than the plan's, once memory ran out."""
    alarms: list[Alarm] = field(default_factory=list)
    interrupted: bool = False


def restore(plan: Plan, saved: Saved) -> State:
    """Fill the plan's weights and optimiser from a checkpoint; raises RunError where it does not fit."""
    weights, tensors, told = saved
    try:
        state = _state(told)
        data = told["data"]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"The checkpoint does not say of its run what a checkpoint says ({error!r:.200}).") from None
    checkpoint.restore_module(plan.method, weights)
    optimisers.load_state_tensors(plan.optimizer, dict(plan.method.named_parameters()), tensors)
    if data != _fingerprint(plan.source):
        _log.warning(
            "%s is no longer what the run began with (%d samples now): it goes on, but not as if it had never stopped.",
            plan.source.name,
            len(plan.source),
        )
    return state


def _state(told: Mapping[str, Any]) -> State:
    """The state as a checkpoint tells it; raises KeyError, TypeError or ValueError where it tells something else."""
    kept = {name: told[name] for name in ("step", "elapsed", "recorded", "probed")}
    kept |= {name: told[name] for name in _LATER if name in told}
    for name, value in kept.items():
        kind, least = int if name in _WHOLE else (int, float), _LEAST.get(name, 0)
        fits = isinstance(value, kind) and math.isfinite(value) and value >= least
        if not fits and (name, value) != ("micro_batch", None):
            raise ValueError(f"{name} is {value!r}")
    return State(**kept, alarms=[Alarm(**alarm) for alarm in told["alarms"]])


def fit(plan: Plan, clock: Clock, folder: RunFolder, state: State, display: Display) -> State:
    """Train in place until the clock is done or an interrupt is asked for; the last state is checkpointed.

    Raises TrainingError when the loss is no longer finite, or has exploded: the newest checkpoint is the last good
    state.
    """
    run = _Run(plan, clock, folder, state)
    ranks = plan.ranks
    plan.method.train()
    part = plan.order.part(ranks.rank, ranks.world) if ranks.world > 1 else plan.order
    with Loader(plan.source, part, plan.positives) as loader, Interrupt() as interrupt, display:
        while run.goes_on():
            record = run.one(loader)
            done, left = clock.progress(state.step), clock.remaining(state.step)
            display.advance(done, left)
            if record is not None:
                display.show(done, record, left)
                for alarm in run.watchdog.look(record):
                    state.alarms.append(alarm)
                    display.alarm(alarm)
                if run.watchdog.exploded:
                    raise run.broken(f"The loss has exploded to {record['loss']:.3g}")
            if ranks.any(interrupt.asked):
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
        self.watchdog = Watchdog(state.alarms, folder.metrics(), plan.advice)
        self.step_seconds = 0.0
        self.progress = 0.0
        self._batches = Batches(plan.source, plan.labels, plan.method.requires, plan.ranks, plan.device)
        self._finite = Finite()
        self._synchronised = synchronised(plan.method)
        self._least = 2 if normalises(plan.method) and not self._synchronised else 1
        self._data = _fingerprint(plan.source)
        self._saved = self._recorded = time.monotonic()
        self._since = _Since(state.loss, state.steps)

    def goes_on(self) -> bool:
        """Whether another step fits, and at which progress: as the first rank's clock says."""
        state, clock = self.state, self.clock
        more = not clock.done(state.step, self.step_seconds)
        self.progress, goes_on = self.plan.ranks.broadcast_numbers(clock.progress(state.step), more)
        return bool(goes_on)

    def one(self, loader: Loader) -> dict[str, Any] | None:
        """One step; returns the record when one is due."""
        plan, state, progress = self.plan, self.state, self.progress
        start = time.perf_counter()
        raw, rows, draws = loader.get(state.step)
        if len(rows) < self._least:
            raw, rows, draws = None, rows[:0], draws[:0]
        shares = plan.ranks.shares(len(rows))
        # The others turned out unreadable: nothing to compare, or nobody to share statistics with.
        if shares.samples < 2 or (self._synchronised and 0 in shares.counts):
            if len(plan.source.usable) < 2:
                raise DataError(f"Too few samples of {plan.source.name!r} can still be read to go on.")
            state.step += 1
            return None
        views = _Timed(plan.views(raw, draws)) if len(rows) else _Timed()
        batch = self._batches.of(raw, rows, shares, progress)
        waited = time.perf_counter() - start

        lr = schedule.learning_rate(progress, plan.lr, plan.warmup)
        schedule.set_lr(plan.optimizer, lr, progress)
        losses, latents = self._step(views, batch, shares)
        learning = [parameter for parameter in plan.method.parameters() if parameter.requires_grad]
        self._must_be_finite({"The loss": losses.total, "The gradient": norm_of(learning, gradients=True)})
        if plan.clip is not None:
            torch.nn.utils.clip_grad_norm_(learning, plan.clip)
        due = plan.ranks.first and self._due(progress)
        change = health.Change(plan.method, latents, batch) if due else None
        plan.optimizer.step()
        self._must_be_finite({"A weight": norm_of(learning, gradients=False)})
        changed = change.figures() if change else {}
        plan.method.after_step(latents, batch)
        state.step += 1

        end = time.perf_counter()
        self.step_seconds = end - start
        self._since.add(losses.total, shares.samples, waited + views.seconds, end - start)
        return self._record(progress, lr, losses, health.figures(latents, batch) | changed) if due else None

    def save_when_due(self) -> None:
        """Save where the last checkpoint is old enough, unless the loss explodes: the last good state is kept."""
        if time.monotonic() - self._saved >= self.plan.checkpoint_every and not self._explodes:
            self.save()

    def save(self) -> None:
        """Write a checkpoint and the encoder, by the first rank; raises TrainingError where they are no good state."""
        plan, state = self.plan, self.state
        if not plan.ranks.first:
            return
        if self._explodes:
            raise self.broken("The loss has exploded")
        if not all(bool(parameter.isfinite().all()) for parameter in plan.method.parameters()):
            raise self.broken("A weight is no longer finite")
        state.elapsed = self.clock.elapsed
        tensors = optimisers.state_tensors(plan.optimizer, dict(plan.method.named_parameters()))
        kept = {
            "elapsed": state.elapsed,
            "recorded": state.recorded,
            "probed": state.probed,
            "micro_batch": state.micro_batch,
            **self._since.kept(),
            "data": self._data,
            "alarms": [vars(alarm) for alarm in state.alarms],
        }
        weights = checkpoint.module_tensors(plan.method)
        checkpoint.save(self.folder.path / "checkpoint", state.step, weights, tensors, kept)
        kept_text = f"The checkpoint of step {state.step} is kept; make room and go on with --resume."
        encoder_folder.save_encoder(self.folder.path / "encoder", plan.method.encoder, kept=kept_text)
        self._saved = time.monotonic()

    @property
    def _explodes(self) -> bool:
        return self.watchdog.far > 0 or self.watchdog.is_far(self._since.loss)

    def _step(self, views: Views, batch: Batch, shares: Shares) -> tuple[Losses, Latents]:
        """The gradients of a step, in smaller pieces where memory runs out."""
        plan, state = self.plan, self.state

        def seed(piece: int) -> None:
            torch.manual_seed(randomness.seed_of(plan.seed, "embed", state.step, plan.ranks.rank, piece))

        while True:
            plan.optimizer.zero_grad(set_to_none=True)
            size = state.micro_batch or plan.micro_batch or max(shares.counts)
            if self._least == 2 and any(count % 2 for count in shares.counts):
                size = max(size, 3)  # in twos, an odd sample would be left alone, which has no statistics
            try:
                return training_step(
                    plan.method, views, batch, shares=shares, ranks=plan.ranks, ring=plan.ring,
                    micro_batch=size, autocast=plan.autocast, seed=seed,
                )  # fmt: skip
            except OutOfMemory:
                smaller = min(size, max(shares.counts)) // 2
            if smaller < self._least or not plan.method.encoder.splits:
                raise TrainingError(
                    f"Memory ran out at step {state.step}, even with micro-batches of {size}: take "
                    f"{plan.method.encoder.cheaper}, or a smaller --batch-size."
                )
            # A retry outside of the handler: the error's own frames hold on to what filled the memory.
            if plan.device.type == "cuda":
                torch.cuda.empty_cache()
            state.micro_batch = smaller
            text = f"Memory ran out with micro-batches of {size} samples: the run goes on with {smaller}."
            self.watchdog.raised.append(alarm := Alarm(state.step, f"memory, {smaller}", text))
            state.alarms.append(alarm)
            _log.warning("step %d: %s", state.step, text)

    def _due(self, progress: float) -> bool:
        if self.plan.record_every is not None:
            return self.state.step % self.plan.record_every == 0
        late = time.monotonic() - self._recorded >= _RECORD_SECONDS
        return late or progress - self.state.recorded >= _RECORD_SHARE

    def _record(self, progress: float, lr: float, losses: Losses, measured: dict[str, float]) -> dict[str, Any]:
        state = self.state
        figures = {
            **self._since.figures(),
            **{name: value.item() for name, value in (losses.logs | losses.parts).items()},
            **measured,
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

    def _must_be_finite(self, scalars: Mapping[str, Tensor]) -> None:
        if what := self._finite.broken(scalars):
            raise self.broken(what)

    def broken(self, what: str) -> TrainingError:
        """The run cannot go on: says where the last good state is, and what to change."""
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


class _Timed(Views):
    """Views like `views`, or of no sample, and the `seconds` that it took to make them so far."""

    def __init__(self, views: Views | None = None) -> None:
        self.seconds = 0.0

        def make(number: int, start: int, stop: int) -> Any:
            assert views is not None
            begin = time.perf_counter()
            made = views.part(start, stop)[number]
            self.seconds += time.perf_counter() - begin
            return made

        if views is None:
            super().__init__(make, (), 0, 0, 0)
        else:
            super().__init__(make, range(len(views)), 0, views.samples, views.wide)


class _Since:
    """Sums since the last record, of which a run that goes on knows the loss's again."""

    def __init__(self, loss: float = 0.0, steps: int = 0) -> None:
        self._loss: Tensor | float = loss
        self._steps = steps
        self._samples = 0
        self._waited = self._spent = 0.0

    def kept(self) -> dict[str, float]:
        """What a checkpoint keeps of it."""
        return {"loss": float(self._loss), "steps": self._steps}

    def add(self, loss: Tensor, samples: int, waited: float, spent: float) -> None:
        self._loss = loss.detach() + self._loss
        self._steps += 1
        self._samples += samples
        self._waited += waited
        self._spent += spent

    @property
    def loss(self) -> float:
        """The mean of the steps' losses; NaN of none."""
        return float(self._loss) / self._steps if self._steps else math.nan

    def figures(self) -> dict[str, float]:
        spent = max(self._spent, 1e-9)
        return {
            "loss": self.loss,
            "samples_per_second": self._samples / spent,
            "data_wait": self._waited / spent,
        }
