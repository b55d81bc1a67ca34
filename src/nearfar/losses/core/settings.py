"""The settings of losses: their annotations say what they may be, for functions and modules alike."""

import numbers
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from nearfar.errors import ConfigError, must

INFINITY = float("inf")
REDUCTIONS = ("mean", "mean_active", "sum", "none")
DISTANCES = ("euclidean", "squared_euclidean", "cosine")


class Rule(Protocol):
    """What a setting may be."""

    def settled(self, name: str, value: Any) -> Any:
        """The value as losses compute with it; ConfigError for one that may not be."""


@dataclass(frozen=True)
class Number:
    """A number that `holds`; where it is `learned` it may be a tensor of one element, which gets its gradient."""

    words: str
    holds: Callable[[Any], bool]
    learned: bool = False

    def settled(self, name: str, value: Any) -> Any:
        """A number, or a tensor []."""
        if isinstance(value, Tensor):
            must(value.numel() == 1, f"{name} must be one number", got=f"a tensor of shape {list(value.shape)}")
            if self.learned:  # trusted to be in range: reading it would wait for its device
                return value.reshape(())
            if value.requires_grad:
                raise ConfigError(f"{name} is not learned, and gets no gradient: pass a number, or {name}.detach().")
            value = value.item()
        must(isinstance(value, numbers.Real) and self.holds(value), f"{name} {self.words}", got=value)
        return value


@dataclass(frozen=True)
class Word:
    """One of some words."""

    words: tuple[str, ...]

    def settled(self, name: str, value: Any) -> Any:
        """The word."""
        if value == "mean_active" and "mean" in self.words and value not in self.words:
            raise ConfigError(f"{name} 'mean_active' says nothing here, since every anchor counts: use 'mean'.")
        *first, last = map(repr, self.words)
        words = " or ".join([*first, last]) if len(first) < 2 else f"one of {', '.join([*first, last])}"
        must(value in self.words, f"{name} must be {words}", got=value)
        return value


def _positive(x: float) -> bool:
    return 0 < x < INFINITY


Positive = Annotated[float, Number("must be > 0", _positive)]
NotNegative = Annotated[float, Number("must be >= 0", lambda x: 0 <= x < INFINITY)]
Fraction = Annotated[float, Number("must lie in 0..1", lambda x: 0 <= x <= 1)]
Chance = Annotated[float, Number("must be >= 0 and < 1", lambda x: 0 <= x < 1)]
Finite = Annotated[float, Number("must be a number", lambda x: -INFINITY < x < INFINITY)]
Count = Annotated[int, Number("must be >= 1", lambda x: 1 <= x < INFINITY and int(x) == x)]
Learned = Annotated[float | Tensor, Number("must be > 0", _positive, learned=True)]
"""A temperature or a scale: a number, or a tensor of one element, which gets its gradient."""
LearnedBias = Annotated[float | Tensor, Number("must be a number", lambda x: -INFINITY < x < INFINITY, learned=True)]
Reduction = Annotated[str, Word(REDUCTIONS)]
MeanReduction = Annotated[str, Word(tuple(word for word in REDUCTIONS if word != "mean_active"))]
"""The reduction of a loss where every anchor counts."""
NumberReduction = Annotated[str, Word(tuple(word for word in REDUCTIONS if word != "none"))]
Distance = Annotated[str, Word(DISTANCES)]
Variant = Annotated[str, Word(("out", "in"))]


def rules_of(annotated: Any) -> dict[str, Rule]:
    """The rules of all parameters of a function, or fields of a class, that have one."""
    hints = get_type_hints(annotated, include_extras=True)
    return {name: rule for name, hint in hints.items() if (rule := _rule(hint)) is not None}


def settle(rules: Mapping[str, Rule], values: dict[str, Any]) -> None:
    """Check the values that have a rule and are not None, and put them into the form that losses compute with."""
    for name, rule in rules.items():
        if values.get(name) is not None:
            values[name] = rule.settled(name, values[name])


def _rule(hint: Any) -> Rule | None:
    if get_origin(hint) is Annotated:
        return next((extra for extra in hint.__metadata__ if isinstance(extra, (Number, Word))), None)
    if get_origin(hint) in (Union, types.UnionType):
        return next((rule for part in get_args(hint) if (rule := _rule(part)) is not None), None)
    return None
