"""What a tuning has done so far, as its folder keeps it: written after each trial, read back by one that goes on."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from nearfar.errors import RunError
from nearfar.files import read_json, write_json

FILE, TRIALS = "tune.json", "trials"
FORMAT = 1


@dataclass(frozen=True)
class Tried:
    """One trial: its values by setting, and how good its encoder was found."""

    number: int
    values: dict[str, Any]
    state: Literal["done", "pruned", "failed"]
    score: float | None
    way: list[float]
    """The scores on the way, before the last one."""
    lr: float | None
    batch_size: int | None
    optimizer: str | None
    steps: int
    seconds: float
    why: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class Check:
    """The defaults and the best settings side by side, both trained with a seed that no trial had."""

    seed: int
    defaults: float
    best: float
    each: list[float] | None
    """By how much the best one was righter, sample by sample, where labels judge."""
    seconds: float


@dataclass
class Record:
    """All of a tuning that its folder keeps."""

    asked: dict[str, Any]
    """The options of the command."""
    samples: int = 0
    """That each trial sees."""
    size: int = 0
    """Of the data."""
    machine: dict[str, Any] = field(default_factory=dict)
    """What is measured once, for all trials."""
    views: str | None = None
    """The recipe of the views that the defaults have settled on."""
    hidden: str | None = None
    """The share of labels that a method is shown which learns from them: the others judge."""
    judge: str = ""
    """What a score is, in words, and of which kind its judge is."""
    judge_kind: str = "labels"
    trials: list[Tried] = field(default_factory=list)
    checked: int | None = None
    """The number of the trial that is checked."""
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def done(self) -> list[Tried]:
        """Trials with a score at their end."""
        return [one for one in self.trials if one.state == "done" and one.score is not None]

    @property
    def best(self) -> Tried | None:
        """The trial with the highest score; of equal ones the first, which are the defaults."""
        return max(self.done, key=lambda one: one.score or -math.inf, default=None)

    def save(self, folder: Path) -> None:
        """Write it atomically; raises as `files.write`."""
        write_json(folder / FILE, {"format": FORMAT, **asdict(self)})


def load(folder: Path) -> Record:
    """The record of a folder; raises RunError where there is none, or it is none of ours."""
    if not (folder / FILE).is_file():
        raise RunError(f"There is no tuning to go on with in {str(folder)!r}.")
    try:
        found = read_json(folder / FILE)
        version = found.pop("format")
        if not isinstance(version, int) or version > FORMAT:
            raise RunError(f"{str(folder / FILE)!r} was written by a later nearfar; update nearfar.")
        trials = [Tried(**one) for one in found.pop("trials")]
        checks = [Check(**one) for one in found.pop("checks")]
        return Record(trials=_whole(trials), checks=checks, **found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{str(folder / FILE)!r} cannot be read: {str(error)[:200]}.") from None


def _whole(trials: Sequence[Tried]) -> list[Tried]:
    for number, one in enumerate(trials):
        if one.number != number or one.state not in ("done", "pruned", "failed") or not isinstance(one.values, dict):
            raise ValueError(f"trial {number} is not one")
        if one.state != "failed" and not isinstance(one.score, int | float):
            raise ValueError(f"trial {number} has no score")
    return list(trials)
