"""What the config of an encoder says, value by value: it may come from an altered file, and much is built from it."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from nearfar.errors import must


def text(config: Mapping[str, Any], name: str, among: Collection[str] | None = None) -> str:
    """A text, one of those `among` where they are given; raises ConfigError."""
    found = config.get(name)
    what = f"one of {', '.join(among)}" if among else "text"
    must(isinstance(found, str) and (among is None or found in among), f"{name} must be {what}", got=found)
    return str(found)


def whole(config: Mapping[str, Any], name: str, *, least: int = 1, most: int | None = None) -> int:
    """A whole number of at least `least`; raises ConfigError."""
    found: Any = config.get(name)
    is_whole = isinstance(found, int) and not isinstance(found, bool)
    what = f"of at least {least}" if most is None else f"from {least} to {most}"
    fits = is_whole and least <= found and (most is None or found <= most)
    must(fits, f"{name} must be a whole number {what}", got=found)
    return int(found)


def numbers(config: Mapping[str, Any], name: str, count: int) -> list[float]:
    """A list of `count` finite numbers; raises ConfigError."""
    found: Any = config.get(name)
    fits = isinstance(found, list) and len(found) == count and all(map(is_number, found))
    must(fits, f"{name} must be a list of {count} numbers", got=found)
    return list(found)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
