"""Alarms: what looks wrong in the records of a run, said once, with what to change.

The thresholds lie between healthy and broken runs of one group of seeds, and are reported on another
(`benchmarks/alarms.py`).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_EXPLODED_FACTOR, _EXPLODED_RECORDS = 100.0, 3
"""The loss explodes where it is so many times its first value, or times 1 where that is less; it has exploded after so
many records. No healthy loss is as high: a softmax over n candidates starts at log n."""
TOO_SHORT = "too few steps"
"""Name of the alarm at the end of a run that is too short to judge."""


@dataclass(frozen=True)
class Alarm:
    """Something looks wrong: `sentence` says what it is and what to change."""

    step: int
    name: str
    sentence: str


class _Figures(dict[str, Any]):
    """A record, where what it lacks is NaN: neither above nor below anything."""

    def __missing__(self, name: str) -> float:
        return math.nan


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """When an alarm is raised: the `condition` on a record and the run's first record holds for `in_a_row` records.

    The last of them must be beyond the share `after` of the run. Where one of the alarms in `explained_by` was raised,
    this one is not. `{advice}` in the sentence stands for what the modality says of it.
    """

    name: str
    condition: Callable[[_Figures, _Figures], bool]
    sentence: str
    in_a_row: int = 1
    after: float = 0.0
    explained_by: tuple[str, ...] = ()


_DATA = ("samples alike", "inputs alike")

_RULES = (
    _Rule(
        name="samples alike",
        condition=lambda now, first: now["repeats"] > 0.8,
        sentence="In {repeats:.0%} of all pairs of a batch both samples show the same: there is nothing to tell apart. "
        "Look at the data: most files are copies of one, or --positives puts nearly all samples into one group.",
    ),
    _Rule(
        name="inputs alike",
        condition=lambda now, first: now is first and now["dead_dimensions"] > 0.999,
        sentence="The encoder makes the same of all samples before its first step: they are all alike{advice}. Look at "
        "the data, and at what reading it makes of them.",
        explained_by=("samples alike",),
    ),
    _Rule(
        name="steps too long",
        # With batch norm long steps soon lengthen the weights, and are then shorter beside them.
        condition=lambda now, first: (
            now["update_ratio"] > 0.5 or (now["update_ratio"] > 0.1 and now["weight_norm"] > 2.5 * first["weight_norm"])
        ),
        sentence="A step changed the encoder's weights by {update_ratio:.0%} of their length: the learning rate is too "
        "high. Start anew with --lr ten times lower.",
        explained_by=_DATA,
    ),
    _Rule(
        name="collapse pays",
        condition=lambda now, first: now["collapse_gain"] > 0.2 * now["pull"] > 0.01,
        sentence="The loss would be lower by {collapse_gain:.2g} if all latents were one point: nothing keeps samples "
        "apart. A method of your own lacks a stop-gradient, negatives or a variance term; with any other, lower --lr.",
        in_a_row=2,
        explained_by=(*_DATA, "steps too long"),
    ),
    _Rule(
        name="collapse",
        condition=lambda now, first: now["effective_rank"] < 1.5,
        sentence="The features lie on a line (effective rank {effective_rank:.1f}): the encoder has collapsed. Lower "
        "--lr, raise --batch-size, and check that the samples are not all alike.",
        after=0.02,
        explained_by=_DATA,
    ),
    _Rule(
        name="one point",
        condition=lambda now, first: now["uniformity"] > -0.002,
        sentence="All latents lie at one point (uniformity {uniformity:.1g}): nothing is left to tell samples apart. "
        "Lower --lr, raise --batch-size, and check that the samples are not all alike.",
        in_a_row=3,
        after=0.05,
        explained_by=(*_DATA, "collapse"),
    ),
    _Rule(
        name="dead dimensions",
        condition=lambda now, first: now["dead_dimensions"] > 0.5,
        sentence="{dead_dimensions:.0%} of the features never change: lower --lr or --weight-decay, or take a narrower "
        "encoder (--width).",
        after=0.02,
        explained_by=_DATA,
    ),
    _Rule(
        name="no pull",
        condition=lambda now, first: now["progress"] < 0.3 and now["pull"] < 0.05,
        sentence="The loss hardly depends on where the latents lie (pull {pull:.2g}), and teaches next to nothing: "
        "lower --temperature (0.05 to 0.5 are usual), or raise --margin.",
        in_a_row=2,
        after=0.02,
        explained_by=(*_DATA, "one point"),
    ),
    _Rule(
        name="views unrelated",
        condition=lambda now, first: now["agreement"] < 0.05,
        sentence="Two views of a sample are no nearer to each other than views of any two (agreement {agreement:.2f}): "
        "they have too little in common, the samples are all alike, or the learning rate does not fit. Make the views "
        "milder{advice}, look at the data, or try --lr ten times lower.",
        in_a_row=4,
        after=0.08,
        explained_by=_DATA,
    ),
    _Rule(
        name="too easy",
        condition=lambda now, first: now["progress"] < 0.3 and now["view_retrieval"] > 0.999,
        sentence="Every sample already finds its other view: the task teaches nothing more. Make the views "
        "harder{advice}.",
        after=0.05,
        explained_by=_DATA,
    ),
    _Rule(
        name="not replayed",
        condition=lambda now, first: now["replay_deviation"] > 0.05,  # what bf16 may make of another order of sums
        sentence="A micro-batch came out otherwise, by {replay_deviation:.0%}, when it was embedded again: the encoder "
        "draws random numbers that torch's seed does not govern, and its gradients are wrong. Take them from torch, or "
        "give a --micro-batch as large as --batch-size.",
    ),
    _Rule(
        name="waiting for data",
        # In a run of seconds nobody minds, and the first fetches say nothing of the later ones.
        condition=lambda now, first: now["data_wait"] > 0.4 and now["seconds"] > 10,
        sentence="The encoder waits for its input {data_wait:.0%} of the time: take smaller inputs{advice}, "
        "more --threads, or a faster disk.",
        in_a_row=3,
        after=0.1,
    ),
    _Rule(
        name="processor shared",
        condition=lambda now, first: now["processor_wait"] > 0.3 and now["seconds"] > 10,
        sentence="Other work takes the processor: the run waits for it {processor_wait:.0%} of the time. Stop that "
        "work, or give fewer --threads where they are more than there are cores.",
        in_a_row=3,
    ),
)


class Watchdog:
    """Looks at the records of a run in their order and raises each alarm once.

    A run that goes on gives those it has: the alarms that were `raised`, and its earlier `records`. `advice` says, by
    the alarm's name, what to change for the kind of data at hand.
    """

    def __init__(
        self,
        raised: Iterable[Alarm] = (),
        records: Iterable[Mapping[str, Any]] = (),
        advice: Mapping[str, str] | None = None,
    ) -> None:
        self.raised = list(raised)
        self._advice = {name: f" ({text})" for name, text in (advice or {}).items()}
        self._first: _Figures | None = None
        self._counts: Counter[str] = Counter()
        """For how many records in a row the condition of each rule has held."""
        self.exploding = 0
        """For how many records in a row the loss has been exploding."""
        for record in records:
            self._note(_Figures(record))

    def look(self, record: Mapping[str, Any]) -> list[Alarm]:
        """The alarms that this record raises for the first time."""
        now = _Figures(record)
        self._note(now)
        new: list[Alarm] = []
        known = {alarm.name for alarm in self.raised}
        for rule in _RULES:
            due = self._counts[rule.name] >= rule.in_a_row and now["progress"] >= rule.after
            if due and known.isdisjoint({rule.name, *rule.explained_by}):
                new.append(Alarm(now["step"], rule.name, self._sentence(rule, now)))
                known.add(rule.name)
        self.raised += new
        return new

    def explodes(self, loss: float) -> bool:
        """Whether this loss is far above the run's first one."""
        return self._first is not None and loss > _EXPLODED_FACTOR * max(1.0, abs(self._first["loss"]))

    @property
    def exploded(self) -> bool:
        """Whether the loss was exploding in the last three records."""
        return self.exploding >= _EXPLODED_RECORDS

    def _sentence(self, rule: _Rule, now: _Figures) -> str:
        return rule.sentence.format_map(_Figures(now, advice=self._advice.get(rule.name, "")))

    def _note(self, now: _Figures) -> None:
        if self._first is None:
            self._first = now
        for rule in _RULES:
            self._counts[rule.name] = self._counts[rule.name] + 1 if rule.condition(now, self._first) else 0
        self.exploding = self.exploding + 1 if self.explodes(now["loss"]) else 0
