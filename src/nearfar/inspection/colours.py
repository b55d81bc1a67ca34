"""What the points of a map are coloured by: classes, or numbers."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nearfar.errors import DataError

OTHERS = "(others)"
_FEW = 12
"""Up to so many different numbers are classes."""
_MOST = 100
"""Classes that are told apart: the most frequent ones."""


@dataclass(frozen=True)
class Colour:
    """A column [N] by its name: texts that are classes, or numbers; None where there is none."""

    name: str
    values: list[str | None] | list[float | None]
    numbers: bool = False


def colour_of(name: str, values: Sequence[Any]) -> Colour:
    """A column as classes or numbers; raises DataError where it is empty."""
    there = [value for value in values if value is not None]
    if not there:
        raise DataError(f"The column {name!r} is empty: there is nothing to colour by.")
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in there)
    if numeric and len(set(there)) > _FEW:
        numbers = [None if value is None or not math.isfinite(value) else float(value) for value in values]
        return Colour(name, numbers, numbers=True)
    texts = [None if value is None else _said(value) for value in values]
    counts = Counter(text for text in texts if text is not None)
    if len(counts) > _MOST:
        kept = {text for text, _ in counts.most_common(_MOST - 1)}
        texts = [text if text is None or text in kept else OTHERS for text in texts]
    return Colour(name, texts)


def tells(values: Sequence[Any]) -> bool:
    """Whether a column that was not asked for is worth offering: it is neither nearly all different texts, nor one."""
    different = {value for value in values if value is not None}
    if len(different) < 2:
        return False
    texts = any(isinstance(value, str) for value in different)
    return not texts or len(different) <= min(_MOST, max(2, len(values) // 2))


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
