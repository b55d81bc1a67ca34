"""Labels and groups as the user wrote them, to numbers."""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class Column:
    """The cells of a column as texts, None where a cell is null: each different one is held once."""

    def __init__(self, cells: Iterable[Any] = ()) -> None:
        self.values: list[str | None] = []
        self._numbers = array("q")
        self._place: dict[str | None, int] = {}
        self.extend(cells)

    @classmethod
    def of_numbers(cls, values: Sequence[Any], numbers: Rows) -> "Column":
        """`values` of which row i has the one at `numbers[i]`; none at -1."""
        found = cls([*values, None])
        places = np.asarray(found._numbers, dtype=np.int64)
        found._numbers = array("q", places[numbers].tobytes())
        return found

    def append(self, cell: Any) -> None:
        """One more cell."""
        text = cell if isinstance(cell, str) else _text(cell)
        number = self._place.setdefault(text, len(self.values))
        if number == len(self.values):
            self.values.append(text)
        self._numbers.append(number)

    def extend(self, cells: Iterable[Any]) -> None:
        """More cells."""
        for cell in cells:
            self.append(cell)

    @property
    def numbers(self) -> Rows:
        """[N]: where in `values` each cell stands."""
        return np.array(self._numbers, dtype=np.int64)

    @property
    def says_anything(self) -> bool:
        """Whether any cell holds something."""
        return any(value not in (None, "") for value in self.values)

    def is_(self, wanted: str) -> NDArray[np.bool_]:
        """[N]: whether a cell says `wanted`, spaces around it aside."""
        known = np.array([(value or "").strip() == wanted for value in self.values], dtype=bool)
        return known[self.numbers] if len(known) else np.zeros(0, dtype=bool)

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[str | None]:
        return (self.values[number] for number in self._numbers)


def is_missing(value: str | None) -> bool:
    """Whether a cell says nothing: empty, null or -1."""
    return value is None or value.strip() in ("", "-1", "-1.0")


def encode(column: Column, names: Sequence[str] | None = None) -> tuple[Rows | None, tuple[str, ...]]:
    """Class numbers [N] and their names in order; -1 for a missing value, None where all are missing.

    Whole numbers are ordered as numbers, all else as text. With `names`, whole numbers are already class numbers;
    those out of range count as missing.
    """
    texts = [None if is_missing(value) else str(value).strip() for value in column.values]
    present = {text for text in texts if text is not None}
    if not present or not len(column):
        return None, ()
    numbers = all(_is_number(text) for text in present)
    if names is not None and numbers:
        place: dict[str | None, int] = {str(i): i for i in range(len(names))}
        order = list(names)
    else:
        order = sorted(present, key=int) if numbers else sorted(present)
        place = {name: i for i, name in enumerate(order)}
    codes = np.array([place.get(text, -1) for text in texts], dtype=np.int64)
    return codes[column.numbers], tuple(order)


def groups(column: Column) -> Rows | None:
    """Numbers [N], equal where the values are; a missing value is a group of its own."""
    codes, names = encode(column)
    if codes is None:
        return None
    alone = codes < 0
    codes[alone] = len(names) + np.arange(alone.sum())
    return codes


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():  # whole numbers beside nulls are often kept as floats
        return str(int(value))
    return str(value)


def _is_number(text: str) -> bool:
    # Neither "007" nor "+7" is the number 7: such names are told apart and kept as written.
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19 and (digits == "0" or digits[0] != "0")
