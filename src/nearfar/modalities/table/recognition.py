"""Which columns of a table are inputs, what they are, and their cells as numbers.

A column whose filled cells read mostly as numbers is one, and so is one of numbers with one text for missing ones; its
other cells count as missing. One whose different texts read mostly as dates is a date. Any other column is a category:
its (at most 32) most frequent values, each met at least twice, are known, all others are one and the same to the
encoder. No input is a text column in which no value comes twice (names, identifiers), or that holds sentences.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearfar.data.values import encode, is_boolean, is_numeric, spelling
from nearfar.data.values import filled as filled_in
from nearfar.data.values import numbers as numbers_of
from nearfar.errors import DataError
from nearfar.modalities.table import dates
from nearfar.modalities.table.columns import Column

if TYPE_CHECKING:
    import pyarrow as pa

    from nearfar.data.samples import Samples

_KNOWN = 32
_MEASURED = 10  # so many different numbers are no codes
_LARGE = 1000  # float32 keeps four digits of a spread so many times smaller than the numbers
_NO_INPUTS = ("id", "index")
_WORDS = 4  # on average, from which on texts that are mostly different are sentences

log = logging.getLogger("nearfar")


def recognise(samples: Samples, *, with_dates: bool = True) -> list[Column]:
    """The input columns among the further ones, without statistics; raises DataError where fewer than two are left.

    Without `with_dates` dates and sentences are taken for categories.
    """
    table = _table(samples)
    found = []
    for name in table.column_names:
        cells = table[name]
        if name.strip().lower() in _NO_INPUTS and (name.strip().lower() == "id" or _all_differ(cells)):
            continue
        if (column := _column(samples.name, name, cells, with_dates=with_dates)) is not None:
            found.append(column)
    if len(found) < 2:
        raise DataError(
            f"{samples.name}: views of rows need at least two columns of numbers or categories, found "
            f"{[c.name for c in found]} among {table.column_names[:20]}."
        )
    return found


def _column(data: str, name: str, cells: pa.ChunkedArray, *, with_dates: bool) -> Column | None:
    """What one column is; None, and a warning that says why, where it is no input."""
    numbers = numbers_of(cells)
    if numbers is None:
        log.warning("%s: column %r holds %s, no numbers or texts, and is left out.", data, name, cells.type)
        return None
    filled = int((~np.isnan(numbers)).sum()) if is_numeric(cells.type) else filled_in(cells)
    if filled == 0:
        log.warning("%s: column %r is empty and left out.", data, name)
        return None
    count = 0 if is_boolean(cells.type) else int(np.count_nonzero(~np.isnan(numbers)))
    if 2 * count > filled or (count and _is_marked(cells)):
        if count < filled:
            log.warning("%s: column %r: %d cells are no numbers: missing.", data, name, filled - count)
        return Column(name, origin=_origin(numbers))
    if with_dates and (column := _date(data, name, cells, filled)) is not None:
        return column
    if with_dates and _are_sentences(cells, filled):
        log.warning("%s: column %r holds sentences and is left out.", data, name)
        return None
    if known := _frequent(cells):
        return Column(name, known)
    log.warning("%s: column %r has a text of its own in every row and is left out.", data, name)
    return None


def lay_out(samples: Samples, columns: Sequence[Column]) -> NDArray[np.float32]:
    """The cells of samples under these columns, as `lay_out_table` has them."""
    return lay_out_table(_table(samples), columns, samples.name)


def lay_out_table(table: pa.Table, columns: Sequence[Column], name: str) -> NDArray[np.float32]:
    """The cells as `[N, C]` under these columns, whatever their order in the table; raises DataError for a lacking one.

    Numbers too large for float32 become infinite.
    """
    names = set(table.column_names)
    lacking = [column.name for column in columns if column.name not in names]
    if lacking:
        named = ", ".join(map(repr, lacking[:5])) + (", ..." if len(lacking) > 5 else "")
        raise DataError(
            f"{name}: the column{'s' if len(lacking) > 1 else ''} {named} that the encoder was trained on "
            f"{'are' if len(lacking) > 1 else 'is'} not in the file, which has {table.column_names[:20]}."
        )
    cells = np.empty((len(table), len(columns)), dtype=np.float32)
    for i, column in enumerate(columns):
        with np.errstate(over="ignore", invalid="ignore"):  # of numbers too large, and of NaN that signal
            if column.values is not None:
                cells[:, i] = _codes(table[column.name], column.values)
            elif (numbers := _numbers(table[column.name], column)) is not None:
                cells[:, i] = numbers - column.origin if column.origin else numbers
            else:
                raise DataError(f"{name}: column {column.name!r} holds {table[column.name].type}, no numbers.")
    cells += 0.0  # no negative zeros: equal rows are equal to the byte
    return cells


def _numbers(cells: pa.ChunkedArray, column: Column) -> NDArray[np.float64] | None:
    """Numbers, or the days of dates `[N]`, NaN where missing; None where there are no texts or numbers."""
    if not column.dates:
        return numbers_of(cells)
    encoded = encode(cells)
    if encoded is None:
        return None
    return _spread(encoded, dates.days(encoded.dictionary.to_pylist(), column.dates))


def _spread(encoded: pa.DictionaryArray, of_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each cell has by its value `[N]`, NaN where it is missing."""
    at = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
    return np.append(of_values, np.nan)[at]


def _table(samples: Samples) -> pa.Table:
    if samples.table is None:
        raise DataError(f"{samples.name}: it has no columns: give a table.")
    return samples.table


def _date(data: str, name: str, cells: pa.ChunkedArray, filled: int) -> Column | None:
    encoded = encode(cells)
    texts = [] if encoded is None else encoded.dictionary.to_pylist()
    form = dates.form_of(texts) if texts else None
    if encoded is None or form is None:
        return None
    days = _spread(encoded, dates.days(texts, form))
    read = days[np.isfinite(days)]
    if len(read) < filled:
        log.warning("%s: column %r: %d cells are no dates: missing.", data, name, filled - len(read))
    timed = bool((read != np.floor(read)).any())
    log.info("%s: column %r holds dates, written with the %s", data, name, form)
    periods = (*((1.0,) if timed else ()), 7.0, 365.2425)
    return Column(name, origin=float(np.floor(np.median(read))), dates=form, periods=periods)


def _origin(numbers: NDArray[np.float64]) -> float:
    """The middle of numbers that are large beside their spread; 0 for all others, which float32 holds well enough."""
    finite = numbers[np.isfinite(numbers)]
    with np.errstate(over="ignore"):  # of numbers beyond 1e154, whose spread is then infinite
        spread = float(finite.std()) if len(finite) else 0.0
    middle = float(np.median(finite)) if len(finite) else 0.0
    return middle if 0 < spread < abs(middle) / _LARGE else 0.0


def _all_differ(cells: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    return encode(cells) is not None and pc.count_distinct(cells).as_py() == len(cells)


def _is_marked(cells: pa.ChunkedArray) -> bool:
    """Whether one text, the only one, stands for what is missing among measured numbers."""
    encoded = encode(cells)
    found = None if encoded is None or is_boolean(cells.type) else numbers_of(encoded.dictionary)
    return found is not None and int(np.isnan(found).sum()) == 1 and len(found) > _MEASURED


def _are_sentences(cells: pa.ChunkedArray, filled: int) -> bool:
    """Whether most cells differ, and hold several words each."""
    import pyarrow.compute as pc

    encoded = encode(cells)
    if encoded is None or 2 * len(encoded.dictionary) <= filled:
        return False
    return bool(pc.mean(pc.count_substring_regex(encoded.dictionary, r"\S+")).as_py() >= _WORDS)


def _frequent(cells: pa.ChunkedArray) -> tuple[str, ...]:
    import pyarrow.compute as pc

    encoded = encode(cells)
    assert encoded is not None  # nested columns are no inputs
    counted = pc.value_counts(pc.drop_null(encoded.dictionary_decode())).to_pylist()
    often = sorted((-c["counts"], c["values"]) for c in counted if c["counts"] > 1)
    return tuple(sorted(value for _, value in often[:_KNOWN]))


def _codes(cells: pa.ChunkedArray, known: Sequence[str]) -> NDArray[np.float64]:
    """Places among the known values, beyond them for others, NaN where missing: `[N]`."""
    encoded = encode(cells)
    if encoded is None:
        return np.full(len(cells), np.nan)
    place = {spelling(value): i for i, value in enumerate(known)}
    found = [place.get(value, len(known) + j) for j, value in enumerate(encoded.dictionary.to_pylist())]
    return _spread(encoded, np.array(found, dtype=np.float64))
