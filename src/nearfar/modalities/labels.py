"""Labels and groups as the user wrote them, to numbers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def is_missing(value: Any) -> bool:
    """Whether a cell says nothing: empty, null, NaN or -1."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return str(value).strip() in ("", "-1", "-1.0")


def encode(values: Sequence[Any], names: Sequence[str] | None = None) -> tuple[Rows | None, tuple[str, ...]]:
    """Class numbers [N] and their names in order; -1 for a missing value, None where all are missing.

    Whole numbers are ordered as numbers, all else as text. With `names`, whole numbers are already class numbers;
    those out of range count as missing.
    """
    texts = [None if is_missing(value) else _text(value) for value in values]
    present = {text for text in texts if text is not None}
    if not present:
        return None, ()
    numbers = all(_is_number(text) for text in present)
    if names is not None and numbers:
        known = {str(i): i for i in range(len(names))}
        codes = np.array([-1 if text is None else known.get(text, -1) for text in texts], dtype=np.int64)
        return codes, tuple(names)
    order = sorted(present, key=int) if numbers else sorted(present)
    place: dict[str | None, int] = {name: i for i, name in enumerate(order)}
    place[None] = -1
    return np.array([place[text] for text in texts], dtype=np.int64), tuple(order)


def groups(values: Sequence[Any]) -> Rows | None:
    """Numbers [N], equal where the values are; a missing value is a group of its own."""
    codes, names = encode(values)
    if codes is None:
        return None
    alone = codes < 0
    codes[alone] = len(names) + np.arange(alone.sum())
    return codes


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():  # whole numbers beside nulls are often kept as floats
        return str(int(value))
    return str(value).strip()


def _is_number(text: str) -> bool:
    # Neither "007" nor "+7" is the number 7: such names are told apart and kept as written.
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19 and (digits == "0" or digits[0] != "0")
