"""A tuning from its first trial to its outcome: the defaults, what the search suggests, the check on fresh seeds."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from nearfar.api import judge, settle, starting
from nearfar.api import options as opts
from nearfar.api.judge import Judge, Score
from nearfar.api.prepare import Ready, assemble
from nearfar.api.tuning import outcome, search, trial
from nearfar.api.tuning.record import Check, Record, Tried
from nearfar.api.tuning.search import Suggestion
from nearfar.api.tuning.space import VIEWS, Space, space_of
from nearfar.api.tuning.trial import Settings, Trained
from nearfar.config import MIN_STEPS, seconds
from nearfar.errors import ConfigError, TrainingError
from nearfar.options import listed
from nearfar.progress import hushed
from nearfar.training import pilot
from nearfar.training.display import Display

TRIAL = "trial"
"""The folder of a training, within that of the tuning, as long as it goes on."""
SAMPLES = 16_000
"""That a trial sees where neither the time nor a length says it: 500 steps of 32."""
SHARES = (0.35, 0.65)
"""Of a trial, at which it may be given up."""
HIDDEN = "70%"
"""Of the labels are shown to a method that learns from them; the others judge."""
_WANTED, _LEAST = 16, 4
"""Trials that a time is to hold, and the least."""
_TIMED = 6  # steps
_MACHINE = ("device", "threads", "precision")
_log = logging.getLogger("nearfar")


class _Pruned(Exception):
    """The trial is given up."""


def run(record: Record, folder: Path, *, quiet: bool, started: float | None) -> outcome.Tuned:
    """Go on with a tuning, as far as its time or number of trials goes, and write what comes of it."""
    return _Study(record, folder, quiet=quiet, started=started).run()


class _Study:
    def __init__(self, record: Record, folder: Path, *, quiet: bool, started: float | None) -> None:
        self.record, self.folder, self.quiet = record, folder, quiet
        self._began = (time.monotonic() if started is None else started) - record.seconds
        asked = record.asked
        given = dict(starting.options_of(init=asked["init"], config=asked["config"], options=asked["options"]))
        self._length = {name: given.pop(name, None) for name in opts.LENGTHS}
        self._length.pop("budget")
        self._seed = int(given.get("seed") or 0)
        self._budget = None if asked["time"] is None else seconds(asked["time"])
        self.usual, self.judge = self._defaults(given)
        self.space = self._space(given)
        record.judge, record.judge_kind = self.judge.what, self.judge.kind

    def run(self) -> outcome.Tuned:
        """Try, check, and write; what is done is written, too, where it is stopped."""
        record = self.record
        _log.info("trials of %s samples each, judged by the %s", f"{record.samples:,}", self.judge.what)
        _log.info("settings that are tried: %s", ", ".join(self.space.names))
        try:
            with Display(quiet=self.quiet, what="tune") as display:
                self._display = display
                while not self._enough():
                    self._try()
                self._check()
        except KeyboardInterrupt:
            if record.trials:
                self._keep()
                outcome.save(outcome.outcome(record, self.space, self.folder), record, self.space)
            raise
        found = outcome.outcome(record, self.space, self.folder)
        outcome.save(found, record, self.space)
        return found

    # What is tried, how long, and who judges.

    def _defaults(self, given: Mapping[str, Any]) -> tuple[Ready, Judge]:
        """The defaults ready to train, and their judge; settles how many samples a trial sees."""
        record = self.record
        first = self._open(given, 1, 1)
        if first.plan.labels is not None and given.get("labels") is None and record.hidden is None:
            record.hidden = HIDDEN
            first = self._open(given, 1, 1)
        chosen = judge.of(first)
        if first.plan.labels is not None and chosen.kind != "labels":
            raise ConfigError(
                f"Too few labels are left to judge a method that learns from labels: at least {judge.LEAST} beside "
                "those that it is shown. Give more, or tune a method that needs none."
            )
        if not record.samples:
            machine = first.config.machine
            record.machine = {name: getattr(machine, name) for name in _MACHINE}
            record.size = len(first.source)
            record.samples = self._samples(first, chosen, given)
        usual = self._open({**self._settled, **given}, record.samples, record.size)
        record.views = usual.config.model.views
        return usual, chosen if chosen.config is None else replace(chosen, config=usual.config)

    def _open(self, options: Mapping[str, Any], samples: int, size: int) -> Ready:
        """A short training with these options, ready to begin."""
        settings = Settings(assemble({**options, **self.record.machine, **self._hidden}))
        with hushed():
            return trial.start(settings, samples, size, self.folder / TRIAL)

    @property
    def _settled(self) -> dict[str, Any]:
        return {} if self.record.views is None else {VIEWS: self.record.views}

    @property
    def _hidden(self) -> dict[str, Any]:
        return {} if self.record.hidden is None else {"labels": self.record.hidden}

    def _space(self, given: Mapping[str, Any]) -> Space:
        asked = self.record.asked
        space = space_of(self.usual, given, over=listed(asked["over"]), tried=listed(asked["methods"]))
        taught = settle.learns_from_labels(self.usual.plan.method.requires)
        for name in space.by_method:
            required = space.required(name)
            if settle.learns_from_labels(required) != taught or required.scores or required.targets:
                raise ConfigError(
                    f"The method {name} does not learn from what {space.method} learns from: tune them apart."
                )
        return space

    def _samples(self, first: Ready, chosen: Judge, given: Mapping[str, Any]) -> int:
        """How many samples a trial sees: as the length says, or as many as let enough trials fit into the time."""
        size, epochs, steps = len(first.source), self._length["epochs"], self._length["steps"]
        if epochs is not None:
            return int(epochs) * size
        began = time.monotonic()
        if steps is None and self._budget is None:
            return SAMPLES
        views = first.config.model.views  # none are tried only to see how long a step takes
        found = self._open({VIEWS: views, **given}, SAMPLES, size)
        ready_in = time.monotonic() - began
        batch = int(found.config.optimisation.batch_size)
        if steps is not None or self._budget is None:
            return int(steps) * batch
        _, step = pilot.train(found.plan, _TIMED, lambda method: trial.optimizer_of(found, method))
        began = time.monotonic()
        with hushed():
            judge.ask(chosen if chosen.config is None else replace(chosen, config=found.config), found)
        overhead = ready_in + (1 + len(SHARES)) * (time.monotonic() - began)
        left = self._budget - (time.monotonic() - self._began)
        checks = 2 * int(self.record.asked["seeds"])
        wanted = self.record.asked["trials"] or _WANTED
        each = left / (wanted + checks)
        samples = int((each - overhead) / max(step, 1e-6) * batch)
        if samples >= MIN_STEPS * batch:
            return samples
        least = MIN_STEPS * batch
        if (left / (least / batch * step + overhead)) < _LEAST + checks:
            needed = (least / batch * step + overhead) * (_LEAST + checks) + time.monotonic() - self._began
            raise ConfigError(
                f"--time {self.record.asked['time']} is too short for {_LEAST} trials of {MIN_STEPS} steps and the "
                f"check on {checks // 2} seeds: give at least {math.ceil(needed / 60)}m, a smaller encoder, or "
                "--trials and --steps."
            )
        return least

    # The trials.

    def _enough(self) -> bool:
        """Whether no further trial is made."""
        asked, tried = self.record.asked, self.record.trials
        if asked["trials"] is not None and len(tried) >= asked["trials"]:
            return True
        if self._budget is None or not tried:
            return False
        longest = max(one.seconds for one in tried)
        checks = 2 * int(asked["seeds"])
        mean = sum(one.seconds for one in self.record.done) / max(1, len(self.record.done))
        return self._elapsed + longest + checks * mean > self._budget

    def _try(self) -> None:
        """Make the next trial: the first is that of the defaults, which is never given up."""
        record, number = self.record, len(self.record.trials)
        suggestion = (
            search.suggest(self.space, record.trials, self._seed)
            if number
            else Suggestion(self.space.usual, lambda look, score: False)
        )
        values, began, way = suggestion.values, time.monotonic(), list[float]()

        def look(at: int, score: Score) -> None:
            way.append(score.value)
            if suggestion.hopeless(at, score.value):
                raise _Pruned

        try:
            with hushed():
                ready = self.usual if not number else self._start(values)
            settled = ready.config.optimisation
        except ConfigError as error:
            self._note(Tried(number, values, "failed", None, [], None, None, None, 0, 0.0, str(error)))
            return
        noted = partial(
            Tried, number, values, way=way, lr=settled.lr, batch_size=settled.batch_size, optimizer=settled.optimizer
        )
        try:
            found = self._train(ready, look)
        except _Pruned:
            made = noted(state="pruned", score=way[-1], steps=0, seconds=time.monotonic() - began)
        except TrainingError as error:
            if not number:
                raise
            made = noted(state="failed", score=None, steps=0, seconds=time.monotonic() - began, why=str(error))
        else:
            took = time.monotonic() - began
            made = noted(state="done", score=found.score.value, steps=found.steps, seconds=took)
        self._note(made)

    def _start(self, values: Mapping[str, Any], **more: Any) -> Ready:
        settings = self.space.settings(values, settled=self._settled, **self.record.machine, **self._hidden, **more)
        return trial.start(settings, self.record.samples, self.record.size, self.folder / TRIAL)

    def _train(self, ready: Ready, look: Callable[[int, Score], None] | None = None) -> Trained:
        return trial.train(ready, self._asked(ready), self.folder / TRIAL, shares=SHARES, look=look)

    def _asked(self, ready: Ready) -> Judge:
        """Who judges a training: where it learns from labels, those that were hidden from it."""
        if ready.plan.labels is None:
            return self.judge
        own = judge.of(ready, but=self.usual.judges.held_out)
        return own if own.kind == "labels" else self.judge

    def _note(self, made: Tried) -> None:
        """Keep a trial, and show it."""
        record = self.record
        record.trials.append(made)
        self._keep()
        shown = ", ".join(f"{name} {outcome.short(value)}" for name, value in made.values.items())
        best = record.best
        said = {"done": "", "pruned": ", given up half way", "failed": f", failed: {made.why}"}[made.state]
        score = "" if made.score is None else f"{made.score:.4f}"
        lead = "" if best is None else f" (best: {best.number} with {best.score:.4f})"
        self._display.say(f"trial {made.number}: {score}{said}{lead}; {shown}")
        self._advance()

    # The check.

    def _check(self) -> None:
        """Train the best settings and the defaults on fresh seeds; nothing where the defaults are the best."""
        record = self.record
        while (best := record.best) is not None and best.number:
            if record.checked != best.number:
                record.checked, record.checks = best.number, []
            if len(record.checks) >= int(record.asked["seeds"]):
                return
            self._meet(best)

    def _meet(self, best: Tried) -> None:
        """Let the best trial's settings meet the defaults on the next seed; they are out where training fails."""
        record, began = self.record, time.monotonic()
        seed = self._seed + 1 + len(record.checks)
        with hushed():
            usual = self._train(self._start(self.space.usual, seed=seed)).score
            try:
                ours = self._train(self._start(best.values, seed=seed)).score
            except TrainingError as error:
                record.trials[best.number] = replace(best, state="failed", score=None, why=f"with seed {seed}: {error}")
                self._keep()
                return
        each = None
        if self.usual.plan.labels is None and usual.each is not None and ours.each is not None:
            each = (ours.each - usual.each).tolist()  # of the same samples on all seeds
        record.checks.append(Check(seed, usual.value, ours.value, each, time.monotonic() - began))
        self._keep()
        self._display.say(f"seed {seed}: defaults {usual.value:.4f}, trial {best.number} {ours.value:.4f}")
        self._advance()

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _keep(self) -> None:
        self.record.seconds = self._elapsed
        self.record.save(self.folder)

    def _advance(self) -> None:
        """Move the bar: by the time, or by the trainings that are done."""
        asked, elapsed = self.record.asked, self._elapsed
        if self._budget is not None:
            self._display.advance(min(1.0, elapsed / self._budget), max(0.0, self._budget - elapsed))
            return
        done, checks = len(self.record.trials), 2 * len(self.record.checks)
        share = (done + checks) / (int(asked["trials"]) + 2 * int(asked["seeds"]))
        self._display.advance(share, elapsed / share - elapsed if share else None)
