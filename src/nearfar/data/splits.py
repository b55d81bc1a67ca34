"""Names of splits: which exist, and which one is meant."""

import logging
from collections.abc import Sequence

from nearfar.errors import DataError

log = logging.getLogger("nearfar")

SPLITS = frozenset({"train", "val", "valid", "validation", "dev", "test"})
"""A folder whose sub-folders all have these names holds splits, not classes."""
_SAME = {"valid": "val", "validation": "val", "dev": "val"}

ALL = "all"
"""`DATA:all` takes all splits together."""


def canonical(split: str) -> str:
    """One name for valid, val, validation and dev, in lower case."""
    name = split.strip().lower()
    return _SAME.get(name, name)


def are_splits(names: Sequence[str]) -> bool:
    """Whether all names, of at least one, are names of splits."""
    return bool(names) and all(name.lower() in SPLITS for name in names)


def pick(data: str, existing: Sequence[str], asked: str | None) -> str | None:
    """The name, among the existing ones, of the split to take; None for everything.

    Nothing asked takes `train`, or the only split there is. Raises DataError where that decides nothing, or the split
    asked for does not exist.
    """
    if asked is None:
        if not existing:
            return None
        chosen = _match("train", existing) or (existing[0] if len(existing) == 1 else None)
        if chosen is None:
            raise DataError(f"{data!r} has splits and none is named train: choose one, such as {data}:{existing[0]}.")
        log.info("%s has the splits %s: taking %s", data, ", ".join(existing), chosen)
        return chosen
    chosen = _match(asked, existing)
    if chosen is not None:
        return chosen
    if asked == ALL:
        return None
    if not existing:
        raise DataError(f"{data!r} has no splits, so there is no {asked!r}: leave out ':{asked}'.")
    raise DataError(f"{data!r} has no split {asked!r}; it has {', '.join(existing)}.")


def _match(asked: str, existing: Sequence[str]) -> str | None:
    if asked in existing:
        return asked
    return next((name for name in existing if canonical(name) == canonical(asked)), None)
