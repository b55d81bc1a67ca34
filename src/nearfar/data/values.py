"""Cells as text and as numbers: one spelling of a value, whatever the file that holds it."""

import re
from array import array
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.strings import Strings, indices

if TYPE_CHECKING:
    import pyarrow as pa

MISSING = (
    *("", "?", ".", "na", "n/a", "nan", "-nan", "nat", "null", r"\n", "#n/a", "#na", "<na>"),
    *("1.#qnan", "1.#ind", "-1.#ind", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!"),
)
"""Cells that hold nothing, in any case, as statistics programs and spreadsheets write them; so do nulls and NaN."""

NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|inf|infinity|Inf|Infinity|INF)$"

CURRENCIES = "$€£¥₹"
UNIT = f"^([+-]?)[{CURRENCIES}]?[ \u00a0\u202f]?([+-]?[^ \u00a0\u202f%{CURRENCIES}]*)[ \u00a0\u202f]?[%{CURRENCIES}]?$"
"""A cell whose number, its sign (1) apart (2), has a sign of a currency before or behind it, or one of percent."""

_SPELLINGS = (
    (r"(?i)^true$", "True"),
    (r"(?i)^false$", "False"),
    (r"^(-?(?:0|[1-9]\d*))\.0*$", r"\1"),  # whole numbers beside missing ones are kept as floats
    (r"^-0$", "0"),
    (r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)", r"\1 \2"),
    (r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.0+(Z|[+-].*|)$", r"\1\2"),
    (r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d*[1-9])0+(Z|[+-].*|)$", r"\1\2"),
    (r"^(\d{4}-\d\d-\d\d \d\d:\d\d.*)(?:Z|[+-]00:?00)$", r"\1+00:00"),
    (r"^(\d{4}-\d\d-\d\d \d\d:\d\d.*[+-]\d\d)(\d\d)$", r"\1:\2"),
    (r"^(\d{4}-\d\d-\d\d) 00:00(?::00)?$", r"\1"),
)
"""The same value as csv, JSON and Arrow spell it, and the one spelling that is used."""


def strings(column: "pa.Array | pa.ChunkedArray") -> "pa.LargeStringArray | None":
    """The cells as text, as they stand, null where they are null; None for a column of lists or other nested values.

    Whole numbers keep all their digits. Bytes are read as UTF-8, or as Windows' Western European text where they are
    not.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = _plain(column)
    kind = column.type
    if pa.types.is_nested(kind):
        return None
    if pa.types.is_floating(kind):
        encoded = column.cast(pa.float32() if kind == pa.float16() else kind).dictionary_encode()
        cells = encoded.dictionary.to_numpy().astype(kind.to_pandas_dtype())
        return Strings.of(map(_of_float, cells)).array.cast(pa.large_string()).take(encoded.indices)
    if pa.types.is_fixed_size_binary(kind):
        column = column.cast(pa.binary())
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type) or str(column.type) == "binary_view":
        column = column.cast(pa.large_binary())
        try:
            return column.cast(pa.large_string())
        except pa.ArrowInvalid:
            mask = column.is_null()
            found = Strings.of(_decoded(b"" if cell is None else cell) for cell in column.to_pylist())
            return pc.if_else(mask, None, found.array.cast(pa.large_string()))
    try:
        found = column.cast(pa.large_string())
        found.validate(full=True)
        return found
    except pa.ArrowInvalid:  # text that is no UTF-8
        return strings(column.cast(pa.large_binary()))


def spelled(cells: "pa.LargeStringArray") -> "pa.LargeStringArray":
    """Text in its one spelling, null where a cell is missing: spaces around it, `1.0` and `1`, `true` and `True`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = present(cells)
    for pattern, replacement in _SPELLINGS:
        cells = pc.replace_substring_regex(cells, pattern, replacement)
    return cells.cast(pa.large_string())


def spelling(cell: str) -> str:
    """One text in its one spelling."""
    cell = cell.strip()
    for pattern, replacement in _SPELLINGS:
        cell = re.sub(pattern, replacement, cell)
    return cell


def present(cells: "pa.LargeStringArray") -> "pa.LargeStringArray":
    """Text without spaces around it, null where a cell is missing."""
    import pyarrow.compute as pc

    cells = pc.utf8_trim_whitespace(cells)
    return pc.if_else(pc.is_in(pc.utf8_lower(cells), value_set=_missing()), None, cells)


@cache
def _missing() -> "pa.LargeStringArray":
    import pyarrow as pa

    return Strings.of(MISSING).array.cast(pa.large_string())


def encode(column: "pa.Array | pa.ChunkedArray") -> "pa.DictionaryArray | None":
    """The cells in their one spelling, each different one once, null where missing; None for nested values."""
    found = strings(column)
    if found is None:
        return None
    encoded = found.dictionary_encode()
    return spelled(encoded.dictionary).take(encoded.indices).dictionary_encode()


def numbers(column: "pa.Array | pa.ChunkedArray") -> NDArray[np.float64] | None:
    """The cells as float64 [N], NaN where one is missing or no number; None for nested values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = _plain(column)
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return _float64(column.cast(pa.float64(), safe=False))
    if pa.types.is_boolean(kind):
        return _float64(column.cast(pa.uint8()).cast(pa.float64()))
    cells = strings(column)
    if cells is None:
        return None
    cells = present(cells)
    try:
        return _float64(cells.cast(pa.float64()))
    except pa.ArrowInvalid:  # ten times slower, and only where some cell is no number, or has a plus or a unit
        if pc.any(pc.match_substring_regex(cells, f"[%{CURRENCIES}\u2212]")).as_py():
            cells = pc.replace_substring_regex(pc.replace_substring(cells, "\u2212", "-"), UNIT, r"\1\2")
        only = pc.if_else(pc.match_substring_regex(cells, NUMBER), cells, None)
        return _float64(pc.cast(pc.utf8_ltrim(only, "+"), pa.float64()))


def filled(column: "pa.Array | pa.ChunkedArray") -> int:
    """How many cells hold something."""
    cells = strings(column)
    return 0 if cells is None else len(cells) - present(cells).null_count


def is_numeric(kind: "pa.DataType") -> bool:
    """Whether a type of Arrow holds numbers."""
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def is_boolean(kind: "pa.DataType") -> bool:
    """Whether a type of Arrow holds True and False."""
    import pyarrow as pa

    return bool(pa.types.is_boolean(kind))


class DictionaryBuilder:
    """Takes strings one by one, None for a missing one, and keeps each different one once."""

    def __init__(self, cells: Iterable[str | None] = ()) -> None:
        self._codes = array("q")
        self._values: list[str] = []
        self._place: dict[str | None, int] = {None: -1}
        for cell in cells:
            self.append(cell)

    @property
    def different(self) -> int:
        """How many different strings there are so far."""
        return len(self._values)

    def at(self, row: int) -> str | None:
        """The cell of a row."""
        code = self._codes[row]
        return None if code < 0 else self._values[code]

    def append(self, cell: str | None) -> None:
        """One more cell."""
        self.repeat(cell, 1)

    def repeat(self, cell: str | None, count: int) -> None:
        """The same cell `count` times."""
        code = self._place.get(cell)
        if code is None:
            code = self._place[cell] = len(self._values)
            self._values.append(str(cell))
        if count == 1:
            self._codes.append(code)
        else:
            self._codes.extend([code] * count)

    def finish(self) -> "pa.DictionaryArray":
        """All cells so far."""
        import pyarrow as pa
        import pyarrow.compute as pc

        codes = np.array(self._codes, dtype=np.int64)
        found = indices(codes)
        if (codes < 0).any():
            found = pc.if_else(pc.less(found, 0), None, found)
        return pa.DictionaryArray.from_arrays(found, Strings.of(self._values).array.cast(pa.large_string()))

    def __len__(self) -> int:
        return len(self._codes)


def _plain(column: "pa.Array | pa.ChunkedArray") -> "pa.Array":
    """One piece of a column, its extension type and dictionary taken off."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):  # 2 GiB are the most that one holds
            column = column.cast(pa.large_string() if pa.types.is_string(column.type) else pa.large_binary())
        found = column.combine_chunks()
        column = pa.concat_arrays(found.chunks) if isinstance(found, pa.ChunkedArray) else found
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _float64(column: "pa.Array") -> NDArray[np.float64]:
    found: NDArray[np.float64] = column.to_numpy(zero_copy_only=False)
    return found.astype(np.float64, copy=False)


def _of_float(number: np.floating[Any]) -> str:
    wide = float(number)  # half precision cannot hold the bound
    return str(int(wide)) if abs(wide) < 2**63 and wide.is_integer() else str(number)


def _decoded(cell: bytes) -> str:
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return cell.decode("cp1252", "replace")


def plain(column: "pa.Array") -> "pa.Array":
    """A column without a dictionary."""
    import pyarrow as pa

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
