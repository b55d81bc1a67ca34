"""Any value as one that strict JSON can hold: no NaN, no arrays, text for what has no other form."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any


def finite(value: Any, digits: int | None = 4) -> float | None:
    """Return a finite float (rounded), or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    return number if digits is None else round(number, digits)


def plain(value: Any) -> Any:
    """Turn any value into one that strict JSON holds."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return finite(value, digits=None) if isinstance(value, float) else str(value)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[list[str]]:
    """Yield [name, text] of each leaf, the names of nested tables joined by dots."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            inner = plain(value)
            yield [f"{prefix}{name}", inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)]
