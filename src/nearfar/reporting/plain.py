"""Numbers and settings as the page shows them."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from nearfar.files import plain


def finite(value: Any, digits: int | None = 4) -> float | None:
    """Return a finite float (rounded), or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    return number if digits is None else round(number, digits)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[list[str]]:
    """Yield [name, text] of each leaf, the names of nested tables joined by dots."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            inner = plain(value)
            yield [f"{prefix}{name}", inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)]


def duration(seconds: float) -> str:
    """Seconds in words: 2 h 5 min, 3 min 20 s, 41 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
