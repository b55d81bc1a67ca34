"""Dates in tables: how they are written, and their numbers of days."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

FORMS = ("year first", "day first", "month first")
"""`2024-03-01` with or without a time, `01.03.2024`, `3/1/2024`."""

_EPOCH = datetime(1970, 1, 1)
_PARTED = re.compile(r"(\d{1,4})[./-](\d{1,2})[./-](\d{1,4})(?:[ T,]+(\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d*)?)?)?")
_YEAR_FIRST = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d.*)?")
_LEAST_SHARE = 0.9
_TRIED = 200


def form_of(texts: Sequence[str]) -> str | None:
    """How at least nine in ten of these different texts are written as dates; None where they are none.

    Where day and month may be either, the day is taken to come first.
    """
    some = texts[:: max(1, len(texts) // _TRIED)]
    for form in FORMS:
        if np.isfinite(days(some, form)).mean() >= _LEAST_SHARE <= np.isfinite(days(texts, form)).mean():
            return form
    return None


def days(texts: Sequence[str], form: str) -> NDArray[np.float64]:
    """Days since 1970, in UTC where a zone is said, NaN for what is no date of this form: `[N]`."""
    return np.array([_days(text, form) for text in texts], dtype=np.float64)


def _days(text: str, form: str) -> float:
    try:
        when = datetime.fromisoformat(text) if _YEAR_FIRST.fullmatch(text) else _read(text, form)
    except (ValueError, OverflowError):
        return float("nan")
    if when is None:
        return float("nan")
    if when.tzinfo is not None:
        when = when.astimezone(UTC).replace(tzinfo=None)
    return (when - _EPOCH).total_seconds() / 86_400


def _read(text: str, form: str) -> datetime | None:
    found = _PARTED.fullmatch(text)
    if found is None:
        return None
    first, second, third, *time = (0 if part is None else int(part) for part in found.groups())
    year, month, day = {
        "year first": (first, second, third),
        "day first": (third, second, first),
        "month first": (third, first, second),
    }[form]
    hour, minute, second_of = time
    return datetime(year, month, day, hour, minute, second_of) if year > 999 else None
