"""The training loop: one file, read top to bottom."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nearfar import randomness
from nearfar.config import too_short
from nearfar.contract import Batch, Latents, Losses, Rows, Views
from nearfar.errors import DataError, TrainingError
from nearfar.memory import keeping_freed
from nearfar.training import checkpoint, health, optimisers, schedule
from nearfar.training.alarms import TOO_SHORT, Alarm, Watchdog
from nearfar.training.batches import Batches
from nearfar.training.clock import Clock
from nearfar.training.display import Display
from nearfar.training.encoder_folder import save_encoder
from nearfar.training.finite import Finite, norm_of
from nearfar.training.interrupt import Interrupt
from nearfar.training.loader import Loader
from nearfar.training.loggers import Loggers
from nearfar.training.plan import Plan
from nearfar.training.positives import views_of
from nearfar.training.ranks import OutOfMemory, Shares
from nearfar.training.records import Records
from nearfar.training.run_folder import RunFolder
from nearfar.training.state import State, fingerprint
from nearfar.training.statistics import normalises
from nearfar.training.step import training_step
from nearfar.training.syncnorm import synchronised
from nearfar.training.thread_count import Tuner

_log = logging.getLogger("nearfar")


def fit(
    plan: Plan,
    clock: Clock,
    folder: RunFolder,
    state: State,
    display: Display,
    loggers: Loggers | None = None,
    look: Callable[[float], None] | None = None,
) -> State:
    """Train in place until the clock is done or an interrupt is asked for; the last state is checkpointed.

    `look` is called after each step with the share that is done; what it raises ends the run.

    Raises TrainingError when loss, gradients or weights are no longer finite, or the loss has exploded: the newest
    checkpoint is the last good state.
    """
    run = _Run(plan, clock, folder, state)
    ranks = plan.ranks
    plan.method.train()
    part = plan.order.part(ranks.rank, ranks.world) if ranks.world > 1 else plan.order
    with keeping_freed(), Loader(plan.source, part, plan.positives) as loader, Interrupt() as interrupt, display:
        while (progress := run.next()) is not None:
            start = time.perf_counter()
            record = run.step(progress, *loader.get(state.step), start=start)
            done, left = clock.progress(state.step), clock.remaining(state.step)
            display.advance(done, left)
            if record is not None:
                display.show(done, record, left)
                if loggers is not None:
                    loggers.write(record)
                for alarm in run.watchdog.look(record):
                    state.alarms.append(alarm)
                    display.alarm(alarm)
                if run.watchdog.exploded:
                    raise run.broken(f"The loss has exploded to {record['loss']:.3g}")
            if ranks.any(interrupt.asked):
                state.interrupted = True
                break
            if look is not None:
                look(done)
            run.save_when_due()
        if not state.interrupted and (last := run.too_short()) is not None:
            state.alarms.append(last)
            if ranks.first:  # all have the same
                display.alarm(last)
        if not state.step:
            raise TrainingError(
                f"The budget of {clock.seconds:g} s was spent before the first step: imports and reading the data took "
                f"{clock.elapsed:.1f} s. Give a longer --budget, or --steps: nearfar train --resume --out {folder.path}"
            )
        run.save()
    return state


class _Run:
    """A run under way: what the loop keeps between two steps."""

    def __init__(self, plan: Plan, clock: Clock, folder: RunFolder, state: State) -> None:
        self.plan, self.clock, self.folder, self.state = plan, clock, folder, state
        state.alarms[:] = [alarm for alarm in state.alarms if alarm.name != TOO_SHORT]  # it may go on longer
        self.watchdog = Watchdog(state.alarms, folder.metrics(), plan.advice)
        self._records = Records(plan, clock, folder, state)
        self._batches = Batches(plan.source, plan.labels, plan.method.requires, plan.ranks, plan.device)
        self._learning = [parameter for parameter in plan.method.parameters() if parameter.requires_grad]
        self._finite = Finite()
        self._synchronised = synchronised(plan.method)
        self._least = 2 if normalises(plan.method) and not self._synchronised else 1
        most = plan.most_threads if plan.device.type == "cpu" else None
        self._threads = None if most is None or most == 1 else Tuner(torch.get_num_threads(), most)
        self._data, self._settings = fingerprint(plan.source), folder.settings()
        self._saved = time.monotonic()
        self._step_seconds = 0.0

    def next(self) -> float | None:
        """The progress at which another step is made, None where none fits: as the first rank's clock says."""
        fits = not self.clock.done(self.state.step, self._step_seconds)
        progress, goes_on = self.plan.ranks.broadcast_numbers(self.clock.progress(self.state.step), fits)
        return progress if goes_on else None

    def step(self, progress: float, raw: Any, rows: Rows, draws: Rows, *, start: float) -> dict[str, Any] | None:
        """One step on a raw batch of these rows, fetched since `start`; returns the record where one is due."""
        plan, state = self.plan, self.state
        if len(rows) < self._least:
            raw, rows, draws = None, rows[:0], draws[:0]
        shares = plan.ranks.shares(len(rows))
        # The others turned out unreadable: nothing to compare, or nobody to share statistics with.
        if shares.samples < 2 or (self._synchronised and 0 in shares.counts):
            if len(plan.source.usable) < 2:
                raise DataError(f"Too few samples of {plan.source.name!r} can still be read to go on.")
            state.step += 1
            return None
        views = _Timed(views_of(plan.make_views, raw, draws, plan.method.requires) if len(rows) else None)
        batch = self._batches.of(raw, rows, shares, progress)
        waited = time.perf_counter() - start

        lr = schedule.learning_rate(progress, plan.lr, plan.warmup)
        schedule.set_lr(plan.optimizer, lr, progress)
        losses, latents = self._gradients(views, batch, shares)
        self._check({"The loss": losses.total, "The gradient": norm_of(self._learning, gradients=True)})
        if plan.clip is not None:
            torch.nn.utils.clip_grad_norm_(self._learning, plan.clip)
        due = plan.ranks.first and self._records.due(progress)
        change = health.Change(plan.method, latents, batch) if due else None
        plan.optimizer.step()
        self._check({"A weight": norm_of(self._learning, gradients=False)})
        changed = change.figures() if change else {}
        plan.method.after_step(latents, batch)
        state.step += 1

        self._step_seconds = time.perf_counter() - start
        if self._threads is not None and self._threads.note(self._step_seconds):
            _log.info("step %d: going on with %d threads, which is faster now", state.step, self._threads.threads)
        self._records.add(losses.total, samples=shares.samples, waited=waited + views.seconds, spent=self._step_seconds)
        if not due:
            return None
        logs = {name: value.item() for name, value in (losses.logs | losses.parts).items()}
        if plan.method.gentle:  # a head that names all samples rightly needs no pull
            logs.pop("pull", None)
        figures = health.figures(latents, batch, compares_views=not plan.method.gentle)
        return self._records.write(progress, lr, logs | figures | changed)

    def _gradients(self, views: Views, batch: Batch, shares: Shares) -> tuple[Losses, Latents]:
        """Leave the gradients of a step on the parameters; in smaller pieces where memory runs out."""
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

    def too_short(self) -> Alarm | None:
        """The alarm that the run, at its end, has too few steps to judge what it is worth."""
        step = self.state.step
        text = too_short(step, step / self.plan.order.steps_per_epoch) if step else None
        return None if text is None else Alarm(step, TOO_SHORT, text)

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
        self._records.keep()
        tensors = optimisers.state_tensors(plan.optimizer, dict(plan.method.named_parameters()))
        kept = state.kept() | {"data": self._data, "settings": self._settings}
        checkpoint.save(self.folder.path / "checkpoint", state.step, plan.method.state_dict(), tensors, kept)
        advice = f"The checkpoint of step {state.step} is kept; make room and go on with --resume."
        save_encoder(self.folder.path / "encoder", plan.method.encoder, kept=advice)
        self._saved = time.monotonic()

    @property
    def _explodes(self) -> bool:
        return self.watchdog.exploding > 0 or self.watchdog.explodes(self._records.mean_loss)

    def _check(self, scalars: Mapping[str, Tensor]) -> None:
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


class _Timed(Views):
    """Views like `views`, or of no sample, and the `seconds` that it took to make them so far."""

    def __init__(self, views: Views | None) -> None:
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
