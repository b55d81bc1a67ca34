"""How options that were left open are settled: from which facts, and with what said about each choice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

Given = TypeVar("Given")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What automatic settings may depend on: the budget's `seconds` or `steps` or `epochs`, and the machine.

    `labelled` of the samples have a label that the method may learn from, and `held` have one that is kept back to
    judge by.
    """

    samples: int
    labelled: int = 0
    held: int = 0
    device: str
    threads: int
    seconds: float | None = None
    steps: int | None = None
    epochs: int | None = None


UNKNOWN = Facts(samples=5_000, device="cpu", threads=1)
"""What automatic settings reckon with where nothing is known of the data."""


@dataclass(frozen=True)
class Choice:
    """A setting that was chosen for the user, and why."""

    name: str
    value: Any
    why: str


class Settling(Generic[Given]):
    """Options that are being filled in, and the choices made so far."""

    def __init__(self, options: Given) -> None:
        self.options = options
        self.choices: list[Choice] = []

    def choose(self, name: str, value: Any, why: str) -> None:
        """Set the option to `value` where it was not given: it is None, or "auto"."""
        if getattr(self.options, name) in (None, "auto"):
            self.put(name, value, why)

    def put(self, name: str, value: Any, why: str) -> None:
        """Set the option to `value`, whatever it is."""
        self.options = replace(self.options, **{name: value})  # type: ignore[type-var]
        self.choices.append(Choice(name, value, why))
