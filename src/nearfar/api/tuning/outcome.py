"""What comes of a tuning: the best settings or the defaults, the gain with its interval, and how much each matters."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nearfar.api import judge
from nearfar.api.tuning.record import Record, Tried
from nearfar.api.tuning.space import BATCH, RATE, Dimension, Space
from nearfar.config import FORMAT
from nearfar.evaluation import unlabelled
from nearfar.evaluation.intervals import Interval, crossed, over_seeds
from nearfar.files import write

CONFIG, CSV, PAGE = "config.toml", "trials.csv", "tuning.html"
_LEAST = 6
"""Trials without which nothing is said of how much a setting matters."""
_TRAINED = ("data", "device", "threads", "precision", "cache", "steps", "epochs", "budget")
"""Options that are about this machine and this data, and not in the settings that are recommended."""


@dataclass(frozen=True)
class Tuned:
    """What came of a tuning: its folder, the settings to take, and all trials."""

    path: Path
    best: dict[str, Any]
    """The options to give to `nearfar.train`: those that were given, and the best ones where they are recommended."""
    recommended: bool
    """Whether the best settings are ahead of the defaults on fresh seeds."""
    gain: Interval | None
    """By how much, in the score's units; None where nothing was checked."""
    trials: list[Tried]
    usual: dict[str, Any]
    """The defaults by setting."""
    judge: str
    percent: bool
    """Whether scores are shares."""
    matters: dict[str, float]
    """Share of the scores' variance that a setting explains alone, in [0, 1]; NaN where too few trials tell."""
    advice: str
    samples: int
    seconds: float

    @property
    def config(self) -> Path:
        """The settings to take, as a file for `nearfar train --config`."""
        return self.path / CONFIG

    @property
    def page(self) -> Path:
        """The page that shows each setting against the score."""
        return self.path / PAGE

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The figures at the head of the page and of the text."""
        states = [one.state for one in self.trials]
        told = [f"{len(states)} of {self.samples:,} samples each"]
        words = {"pruned": "given up half way", "failed": "failed"}
        told += [f"{states.count(state)} {word}" for state, word in words.items() if state in states]
        rows = [("trials", "; ".join(told)), ("judged by", self.judge)]
        if self.trials:
            rows.append(("defaults", self.shown(self.trials[0].score)))
        if self.winner is not None:
            rows.append(("best trial", f"{self.shown(self.winner.score)} (number {self.winner.number})"))
        if self.gain is not None:
            rows.append(("gain on fresh seeds", _lead(self.gain, self.percent)))
        return rows

    @property
    def table(self) -> list[list[str]]:
        """A line a setting: its name, the defaults, the best trial's, and how much it matters."""
        best, rows = self.winner, [["setting", "defaults", "best trial", "explains"]]
        for name, matters in self.matters.items():
            values = [self.usual.get(name), None if best is None else best.values.get(name)]
            times = " x automatic" if name == RATE else ""
            cells = ["" if value is None else f"{short(value)}{times}" for value in values]
            rows.append([name, *cells, "" if math.isnan(matters) else f"{100 * matters:.0f} %"])
        return rows

    @property
    def winner(self) -> Tried | None:
        """The trial with the highest score."""
        scored = [one for one in self.trials if one.state == "done" and one.score is not None]
        return max(scored, key=lambda one: one.score or -math.inf, default=None)

    def shown(self, score: float | None) -> str:
        """A score in words."""
        if score is None or not math.isfinite(score):
            return ""
        return f"{100 * score:.1f} %" if self.percent else f"{score:.3f}"


def outcome(record: Record, space: Space, folder: Path) -> Tuned:
    """What comes of the trials and checks so far; nothing is written."""
    percent = record.judge_kind != "views"
    gain, best = _gain(record), record.best
    least = 0.0 if percent else unlabelled.ERROR
    ahead = gain is not None and gain.outcome == "ahead" and gain.mean > least
    options = _options(record, space, best if ahead else None)
    return Tuned(
        path=folder,
        best=options,
        recommended=ahead,
        gain=gain,
        trials=record.trials,
        usual=space.usual,
        judge=record.judge,
        percent=percent,
        matters={one: _matters(record.done, dimension) for one, dimension in space.by_name.items()},
        advice=_advice(record, gain, ahead=ahead, percent=percent),
        samples=record.samples,
        seconds=record.seconds,
    )


def _gain(record: Record) -> Interval | None:
    """The lead of the best over the defaults on fresh seeds."""
    checks = [one for one in record.checks if math.isfinite(one.best - one.defaults)]
    if not checks:
        return None
    each = [one.each for one in checks]
    if all(each) and len({len(one or ()) for one in each}) == 1:
        return crossed(torch.tensor(each, dtype=torch.float64))
    return over_seeds(torch.tensor([one.best - one.defaults for one in checks], dtype=torch.float64))


def _options(record: Record, space: Space, best: Tried | None) -> dict[str, Any]:
    """The options to train with: those given, and the winner's."""
    found = dict(space.given)
    if best is not None:
        found = space.options(best.values)
        if best.values.get(RATE, 1.0) != 1.0:  # a rate suits the batch and the optimiser that it was found with
            found |= {RATE: best.lr, BATCH: best.batch_size, "optimizer": best.optimizer}
    return {name: value for name, value in found.items() if name not in _TRAINED and value is not None}


def _advice(record: Record, gain: Interval | None, *, ahead: bool, percent: bool) -> str:
    """What to do, in a sentence or two."""
    best = record.best
    if best is None:
        return "No trial has come to its end: nothing can be said."
    if best.number == 0:
        return f"Keep the defaults: none of {len(record.trials) - 1} other settings was found better."
    if gain is None:
        return f"Trial {best.number} scores highest, which proves nothing yet: it has not been compared on fresh seeds."
    lead = _lead(gain, percent)
    seeds = f"on {len(record.checks)} fresh seeds"
    if ahead:
        return f"Train with {CONFIG}: trial {best.number} is ahead of the defaults by {lead} {seeds}."
    if gain.outcome == "ahead":
        return (
            f"Keep the defaults: trial {best.number} leads by {lead} {seeds}, but figures without labels are off by up "
            f"to {unlabelled.ERROR:.2f} (docs/tuning.md). {judge.LEAST} labels would tell."
        )
    return f"Keep the defaults: the lead of trial {best.number}, {lead} {seeds}, may be chance."


def _lead(gain: Interval, percent: bool) -> str:
    if percent:
        return f"{100 * gain.mean:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    return f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"


def _matters(done: Sequence[Tried], dimension: Dimension) -> float:
    """The share of the variance of the scores that the setting explains alone: adjusted R^2, in [0, 1].

    Of choices by their means, of numbers by a parabola in the value or its logarithm; NaN for too few trials.
    """
    known = [one for one in done if dimension.name in one.values]
    y = np.array([one.score for one in known], dtype=float)
    if len(known) < _LEAST or not np.var(y):
        return math.nan
    values = [one.values[dimension.name] for one in known]
    if dimension.span is None:
        columns = [np.array([value == choice for value in values], dtype=float) for choice in dict.fromkeys(values)]
    else:
        x = np.array(values, dtype=float)
        x = np.log(np.maximum(x, 1e-12)) if dimension.span.log else x
        x = (x - x.mean()) / (x.std() or 1.0)
        columns = [np.ones_like(x), x, x * x]
    design = np.stack(columns, axis=1)
    fitted = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    free = len(y) - np.linalg.matrix_rank(design)
    if free < 1:
        return math.nan
    left = ((y - fitted) ** 2).sum() / free
    return float(min(1.0, max(0.0, 1 - left / y.var(ddof=1))))


def save(found: Tuned, record: Record, space: Space) -> None:
    """Write trials.csv, config.toml and the page; raises as `files.write`."""
    import tomli_w

    from nearfar.reporting import tuning_page

    names = space.names
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    plain = [name for name in names if name != RATE]
    times = {RATE: "lr (times the automatic one)"} if RATE in names else {}
    table.writerow(["trial", "state", "score", *plain, *times.values(), RATE, "steps", "seconds", "why"])
    for one in record.trials:
        row: list[Any] = [one.number, one.state, "" if one.score is None else round(one.score, 6)]
        row += [short(one.values.get(name, "")) for name in (*plain, *times)]
        row += [short("" if one.lr is None else one.lr), one.steps, round(one.seconds, 1), one.why]
        table.writerow(row)
    write(found.path / CSV, lines.getvalue())
    head = "".join(f"# {line}\n" for line in (found.advice, f"Judged by the {found.judge}.") if "\n" not in line)
    write(found.path / CONFIG, head + tomli_w.dumps({"format": FORMAT, "tuned": _plain(found.best)}))
    tuning_page.write(
        found.path / PAGE,
        title=Path(str(space.given.get("data", "data"))).name,
        advice=found.advice,
        judge=found.judge,
        percent=found.percent,
        facts=found.facts,
        trials=[
            {"number": one.number, "state": one.state, "score": one.score, "values": one.values, "why": one.why}
            for one in record.trials
        ],
        settings=[
            {
                "name": name,
                "log": dimension.span is not None and dimension.span.log,
                "choices": [str(choice) for choice in dimension.choices],
                "usual": dimension.usual,
                "matters": found.matters[name],
            }
            for name, dimension in space.by_name.items()
        ],
    )


def short(value: Any) -> Any:
    """A number in four digits; all else as it is."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: short(value) for name, value in options.items() if isinstance(value, str | int | float | bool)}
