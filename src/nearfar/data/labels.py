"""Labels, groups, domains and scores as the user wrote them, to numbers; what is lost on the way is logged."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearfar.data.strings import Rows

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("nearfar")

_CLASSES = 32
"""More different whole numbers than these, and than half of the rows, are a measured target."""


def classes(
    column: "pa.DictionaryArray | None", names: Sequence[str] | None = None, *, what: str | None = None
) -> tuple[Rows | None, tuple[str, ...]]:
    """Class numbers [N] and their names in order; -1 for a missing value, None where all are missing.

    `column` has one spelling a value, null where missing (`values.encode`). Whole numbers are ordered as such, all else
    as text. With `names`, whole numbers are already class numbers, and those out of range count as missing. So does
    -1 by convention where all others are whole numbers from 0 on and of more than one kind, or are no numbers, or where
    there are no others: `-1` and `1` are two classes. A warning says how many are left out so, and calls them `what`.
    """
    if column is None or not len(column):
        return None, ()
    texts: list[str] = column.dictionary.to_pylist()
    codes = np.asarray(column.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
    numeric = all(map(_is_whole, texts))
    missing = set()
    if names is not None and numeric:
        place = {str(i): i for i in range(len(names))}
        order = list(names)
        missing = {text for text in texts if text not in place}
    else:
        if "-1" in texts and _stands_for_none(texts, numeric):
            missing = {"-1"}
        order = sorted((text for text in texts if text not in missing), key=int if numeric else None)
        place = {name: i for i, name in enumerate(order)}
    lookup = np.array([*(place.get(text, -1) for text in texts), -1], dtype=np.int64)  # -1 is its last
    found: Rows = lookup[codes]
    if what is not None and missing:
        lost = int(np.isin(codes, [i for i, text in enumerate(texts) if text in missing]).sum())
        shown = ", ".join(sorted(missing)[:3]) + (", ..." if len(missing) > 3 else "")
        log.warning("%s: %d of %d are %s, which is taken for none given.", what, lost, len(column), shown)
    return (found, tuple(order)) if (found >= 0).any() else (None, ())


def groups(column: "pa.DictionaryArray | None") -> Rows | None:
    """Numbers [N], equal where the values are; a missing value is a group of its own."""
    codes, names = classes(column)
    if codes is None:
        return None
    alone = codes < 0
    codes[alone] = len(names) + np.arange(alone.sum())
    return codes


def scores(column: "pa.DictionaryArray | None", *, what: str) -> NDArray[np.float32] | None:
    """Numbers [N], NaN where a value is missing or is no number; None where all are. A warning says how many are not.

    `column` is as for `classes`, and `what` is what the warning calls it.
    """
    if column is None:
        return None
    values = [_number(text) for text in column.dictionary.to_pylist()]
    found = np.array([*values, np.nan], dtype=np.float32)[column.indices.fill_null(len(values)).to_numpy()]
    if lost := int(np.isnan(found).sum()) - column.null_count:
        log.warning("%s: %d of %d are no numbers, and are taken for none given.", what, lost, len(column))
    return found if np.isfinite(found).any() else None


def are_measurements(column: "pa.DictionaryArray", *, many: bool) -> bool:
    """Whether the values are fractions, and so no classes; with `many`, or too many different numbers to be classes."""
    texts: list[str] = column.dictionary.to_pylist()
    try:
        numbers = {float(text) for text in texts}
    except ValueError:
        return False
    fractions = any(number != np.round(number) for number in numbers if np.isfinite(number))
    return fractions or (many and len(numbers) > _CLASSES and 2 * len(numbers) > len(column) - column.null_count)


def _stands_for_none(texts: Sequence[str], numeric: bool) -> bool:
    others = [text for text in texts if text != "-1"]
    return not numeric or not others or (len(others) > 1 and all(int(text) >= 0 for text in others))


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return np.nan
    return number if np.isfinite(number) else np.nan


def _is_whole(text: str) -> bool:
    # Neither "007" nor "+7" is the number 7: such names are told apart and kept as written.
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 40 and (digits == "0" or digits[0] != "0")
