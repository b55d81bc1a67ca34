"""Runs compared with each other: which is better, by how much, and how sure is that?

Two runs that were judged on the same test samples are compared sample by sample, which is far sharper than intervals
side by side; others by their intervals, which is said. All figures of two runs are tested together (`joint.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import torch

from nearfar.errors import ConfigError
from nearfar.evaluation.intervals import Interval, normal
from nearfar.evaluation.joint import MARGIN, Tested, correlations_of, error_of, jointly
from nearfar.evaluation.per_sample import PerSample, same
from nearfar.evaluation.result import Evaluation
from nearfar.evaluation.task import Row
from nearfar.evaluation.tasks.label_free import LabelFree
from nearfar.evaluation.verdict import Answer, Statement, lead_in_words

PAIRED = "paired over test samples"
UNPAIRED = "over different test samples"


@dataclass(frozen=True)
class Judged:
    """A run's evaluation and what its test samples add to the figures; `name` is what it is called."""

    name: str
    evaluation: Evaluation
    per_sample: dict[Any, PerSample]

    @cached_property
    def rows(self) -> dict[Any, Row]:
        """The figures of the trained system."""
        last = self.evaluation.systems[-1]
        return {row.key: row for row in self.evaluation.rows if row.system == last}


@dataclass(frozen=True)
class Duel:
    """One run against another: leads of the first, of those figures that both have."""

    one: Judged
    other: Judged
    rows: list[Row]
    """Figures of the first run, each with its lead over the other's."""
    tested: list[Tested]
    """Those that count, tested together."""

    @property
    def paired(self) -> bool:
        """Whether all that count are of the same test samples."""
        kinds = [row.lead.kind for row in self.rows if row.lead is not None and row.role == "judged"]
        return bool(kinds) and all(kind == PAIRED for kind in kinds)

    @property
    def ahead(self) -> list[Tested]:
        """The figures in which the first is surely ahead."""
        return [one for one in self.tested if one.outcome == "ahead"]

    @property
    def behind(self) -> list[Tested]:
        """The figures in which the first is surely behind."""
        return [one for one in self.tested if one.outcome == "behind"]

    @property
    def balance(self) -> float:
        """By how many more of the figures the first leads than the other, as a share of them, sure or not."""
        leads = [t.difference.mean * (-1 if t.row.higher_is_better is False else 1) for t in self.tested]
        return sum((lead > 0) - (lead < 0) for lead in leads) / max(len(leads), 1)

    @property
    def answer(self) -> Answer:
        """Whether the first is better: "yes", "no", "mixed" or "unclear"."""
        if self.ahead and self.behind:
            return "mixed"
        return "yes" if self.ahead else "no" if self.behind else "unclear"

    @property
    def statement(self) -> Statement:
        """What comes of it, in words."""
        one, other = self.one.name, self.other.name
        head = {
            "yes": f"{one} is better than {other}",
            "no": f"{one} is worse than {other}",
            "mixed": f"{one} is better than {other} in some ways, worse in others",
            "unclear": f"It is not clear whether {one} or {other} is better",
        }[self.answer]
        question = f"Is it better than {other}?"
        if not self.tested:
            return Statement(question, "unclear", head, "they share no figure that says how good they are.")
        parts = [
            f"{word} in {len(those)} of {len(self.tested)} figures, most in {lead_in_words(max(those, key=_size))}"
            for word, those in (("ahead", self.ahead), ("behind", self.behind))
            if those
        ]
        if not parts:
            most = lead_in_words(max(self.tested, key=_size))
            parts = [f"no figure is sure to differ by more than {100 * MARGIN:.0f} points; most {most}"]
        count = max(t.difference.count for t in self.tested)
        basis = f"on the same {count:,} test samples" if self.paired else "on different test samples, so less surely"
        return Statement(question, self.answer, head, f"{'; '.join(parts)}; {basis}.")


@dataclass(frozen=True)
class Comparison:
    """Several runs; `best` is the number of the one that is ahead of most others and behind fewest."""

    runs: list[Judged]
    best: int
    duels: dict[int, Duel]
    """The best run against each other one, by its number."""
    headline: str
    cautions: list[str]

    def __str__(self) -> str:
        details = [f"{one.statement.head}: {one.statement.detail}" for one in self.duels.values()]
        return "\n".join([self.headline, *details, *self.cautions])

    @property
    def answer(self) -> Answer:
        """Whether the best run is better than all others."""
        answers = {duel.answer for duel in self.duels.values()}
        if len(answers) == 1:
            return answers.pop()
        return "unclear" if "unclear" in answers else "mixed"


def compare(runs: Sequence[Judged]) -> Comparison:
    """Compare two or more runs; raises ConfigError for fewer."""
    if len(runs) < 2:
        raise ConfigError("A comparison needs at least two runs.")
    every = {(a, b): duel(runs[a], runs[b]) for a, b in combinations(range(len(runs)), 2)}
    score = [0.0] * len(runs)
    for (a, b), one in every.items():
        sign = {"yes": 1.0, "no": -1.0}.get(one.answer) or 1e-3 * one.balance  # by what is likelier, where none is sure
        score[a] += sign
        score[b] -= sign
    best = max(range(len(runs)), key=lambda i: score[i])
    against = {i: every[best, i] if best < i else duel(runs[best], runs[i]) for i in range(len(runs)) if i != best}
    return Comparison(list(runs), best, against, _headline(runs[best], against), _cautions(runs[best], runs, against))


def duel(one: Judged, other: Judged) -> Duel:
    """Compare two runs in all figures that both have."""
    rows = []
    for key, row in one.rows.items():
        theirs = other.rows.get(key)
        if theirs is None:
            continue
        lead, moved = _lead(row, theirs, one.per_sample.get(key), other.per_sample.get(key))
        # Views are the run's own: harder ones are found less often, which makes no run worse.
        role = "shown" if row.task == LabelFree.name and row.role == "judged" else row.role
        rows.append(replace(row, lead=lead, influence=moved, role=role))
    counted = [row for row in rows if row.role == "judged" and row.lead is not None]
    leads = [row.lead for row in counted if row.lead is not None]
    return Duel(one, other, rows, jointly(counted, leads, correlations_of(counted) if counted else None))


def _lead(
    row: Row, theirs: Row, one: PerSample | None, other: PerSample | None
) -> tuple[Interval | None, torch.Tensor | None]:
    """The first figure less the second, and by how much each test sample moves that; None without any interval."""
    mean = row.value.mean - theirs.value.mean
    if mean != mean or not (_has_error(row.value) and _has_error(theirs.value)):
        return None, None
    if one is None or other is None or not same(one, other):
        errors = [error_of(value) for value in (row.value, theirs.value)]
        freedom = [max(value.freedom or value.count - 1, 1) for value in (row.value, theirs.value)]
        return _interval(mean, [(e * e, f) for e, f in zip(errors, freedom, strict=True)], UNPAIRED), None
    moved = one.influence - other.influence
    count = len(moved)
    parts = [(float(moved.square().sum()) * count / max(count - 1, 1), max(count - 1, 1))]
    if one.by_draw is not None and other.by_draw is not None and len(one.by_draw) > 1:
        draws = one.by_draw - other.by_draw
        parts.append((float(draws.var()) / len(draws), len(draws) - 1))
    return _interval(mean, parts, PAIRED, count), moved


def _interval(mean: float, parts: Sequence[tuple[float, float]], kind: str, count: int | None = None) -> Interval:
    """An interval of a mean with independent parts of variance, each with its degrees of freedom (Satterthwaite)."""
    variance = sum(part for part, _ in parts)
    spread = sum(part**2 / freedom for part, freedom in parts)
    freedom = variance**2 / spread if spread > 0 else min(freedom for _, freedom in parts)
    return normal(mean, variance**0.5, kind, count or int(freedom) + 1, max(freedom, 1.0))


def _has_error(value: Interval) -> bool:
    return value.error is not None or value.half_width > 0


def _size(tested: Tested) -> float:
    return abs(tested.difference.mean) / (1.0 if tested.row.share else error_of(tested.difference) or 1.0)


def _headline(best: Judged, duels: dict[int, Duel]) -> str:
    every = list(duels.values())
    if len(every) == 1:
        return f"{every[0].statement.head}."
    others: dict[Answer, list[str]] = {}
    for one in every:
        others.setdefault(one.answer, []).append(one.other.name)
    if set(others) == {"yes"}:
        return f"{best.name} is better than all others."
    said = {
        "yes": "better than {}",
        "unclear": "not clearly different from {}",
        "mixed": "better in some ways and worse in others than {}",
        "no": "worse than {}",
    }
    parts = [text.format(_and(others[answer])) for answer, text in said.items() if answer in others]
    return f"{best.name} comes out best: {'; '.join(parts)}."


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _cautions(best: Judged, runs: Sequence[Judged], duels: dict[int, Duel]) -> list[str]:
    """What to bear in mind."""
    found = []
    if not all(one.tested for one in duels.values()):
        found.append(
            "Some runs share no figure that says how good they are: judge them on the same labelled data with nearfar "
            "evaluate."
        )
    unpaired = [one.other.name for one in duels.values() if one.tested and not one.paired]
    if unpaired:
        found.append(
            f"Not judged on the same test samples as {best.name}: {_and(unpaired)}. The same data and --seed give the "
            "same test samples; runs of earlier versions do not say which they were."
        )
    given = {run.evaluation.train for run in runs}
    if len(given) > 1:
        found.append(f"Their probes were given different numbers of samples ({', '.join(map(str, sorted(given)))}).")
    if any(run.evaluation.verdict().caution for run in runs):
        found += [f"{run.name}: {text}" for run in runs if (text := run.evaluation.verdict().caution)]
    found.append(
        "Intervals count which samples were tested, not the chance in training: another --seed of the same settings "
        "gives another encoder."
    )
    return found
