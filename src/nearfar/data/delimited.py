"""Separated values in text: .csv and .tsv, read by Arrow; a row that is none is refused, not fatal."""

import codecs
import csv
import logging
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfar.data.dialect import Dialect, find_dialect, head_of, plain_number
from nearfar.data.keys import printable
from nearfar.data.table_file import Columns, TableFile
from nearfar.data.values import CURRENCIES, present, strings
from nearfar.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("nearfar")

_BLOCK = 2**24
_WESTERN = "nearfar.western"
"""What is no UTF-8 is read as Windows' Western European text."""


def _western(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error(_WESTERN, _western)


class Delimited(TableFile):
    """A `.csv` or `.tsv` file, however it is written; `known` names tell a header."""

    def __init__(self, file: Path, known: Iterable[str]) -> None:
        super().__init__(file)
        changed = _changed(file)
        self.dialect = _dialect(file, changed, frozenset(known))
        _log(file, changed, self.dialect)
        self.names = self.dialect.names

    def read(self, at: Sequence[int]) -> Columns:
        """The columns at these places, as bytes, and the rows that have another number of fields."""
        wanted, at = at, at or [0]  # rows are counted by a column, whether or not one is wanted
        quoted = self._has_quotes()
        found, refused = self._parsed(at if not quoted else range(len(self.names)), quotes=True)
        if quoted:
            several = sum(_with_line_breaks(column) for column in found)
            if several and not self._is_well_quoted():
                log.warning("%s: a quote is opened and not closed: quotes are read as plain characters", self.name)
                found, refused = self._parsed(range(len(self.names)), quotes=False)
                found = [_unquoted(column) for column in found]
            elif several:
                log.info("%s: %d cells have several lines", self.name, several)
            found = [found[i] for i in at]
        total = len(found[0]) + len(refused)
        kept = np.ones(total, dtype=bool)
        kept[[number for number, _ in refused]] = False
        numbers = np.flatnonzero(kept)
        again = self._header_again(found, at)
        if again.any():
            refused += [(int(number), "the header once more") for number in numbers[again]]
            numbers, found = numbers[~again], [_some(column, ~again) for column in found]
        return Columns(found if wanted else [], numbers, sorted(refused))

    def head(self, count: int) -> dict[str, list[str]]:
        """The first cells of each column."""
        rows = head_of(self.file, self.dialect)[:count]
        return {name: [row[i] for row in rows] for i, name in enumerate(self.names)}

    def plain(self, column: "pa.Array") -> "pa.Array":
        """The cells as text, numbers without marks between thousands and with a decimal point."""
        import pyarrow as pa
        import pyarrow.compute as pc

        text = strings(column)
        cells = present(text)
        apart = r" '\x{2019}\x{a0}\x{202f}\x{2009}"  # what stands between thousands
        number = rf"[+\-\d.,{apart}]*\d[eE+\-\d.,{apart}]*"
        odd = pc.match_substring_regex(cells, rf"^[+\-\x{{2212}}]?[{CURRENCIES}]?{number}[%{CURRENCIES}]?$")
        usual = pc.match_substring_regex(cells, rf"^[^,{apart}]*$")
        if self.dialect.decimal == ",":
            usual = pc.and_(usual, pc.invert(pc.match_substring(cells, ".")))
        odd = pc.and_(odd, pc.invert(usual))
        if not pc.any(odd).as_py():
            return text
        encoded = cells.dictionary_encode()
        plain = [plain_number(cell, self.dialect.decimal) for cell in encoded.dictionary.to_pylist()]
        return pa.array(plain, pa.large_string()).take(encoded.indices)

    def _parsed(self, at: Sequence[int], *, quotes: bool) -> "tuple[list[pa.Array], list[tuple[int, str]]]":
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        refused: list[tuple[int, str]] = []

        def skip(row: Any) -> str:
            number = row.number - 1 - self.dialect.skip
            refused.append((number, f"{row.actual_columns} fields where the header has {row.expected_columns}"))
            return "skip"

        names = [str(i) for i in range(len(self.names))]
        encoding = "utf8" if self.dialect.encoding == "utf-8-sig" else self.dialect.encoding
        try:
            table = arrow_csv.read_csv(
                self.file if encoding != "utf8" or self._is_utf8() else self._repaired(),
                arrow_csv.ReadOptions(  # only one thread knows the rows' numbers
                    use_threads=False,
                    block_size=_BLOCK,
                    encoding=encoding,
                    column_names=names,
                    skip_rows=self.dialect.skip,
                ),
                arrow_csv.ParseOptions(
                    delimiter=self.dialect.separator,
                    quote_char=self.dialect.quotes.mark if quotes else False,
                    escape_char="\\" if self.dialect.quotes.escaped else False,
                    invalid_row_handler=skip,
                    newlines_in_values=quotes,
                ),
                arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.large_binary()),
                    strings_can_be_null=False,
                    include_columns=[names[i] for i in at],
                ),
            )
        except (pa.ArrowException, OSError, UnicodeError) as error:
            if "Empty CSV" in str(error):
                return [pa.nulls(0, pa.large_binary()) for _ in at], refused
            raise DataError(f"{printable(str(self.file))!r}: not readable as a table: {str(error)[:200]}") from None
        return [pa.concat_arrays(column.chunks) for column in table.columns], refused

    def _is_utf8(self) -> bool:
        decoder = codecs.getincrementaldecoder("utf-8")()
        with open(self.file, "rb") as raw:
            try:
                for block in iter(lambda: raw.read(2**20), b""):
                    decoder.decode(block)
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                return False
        return True

    def _repaired(self) -> "pa.BufferReader":
        """The file as UTF-8: at a row of a wrong length that has other characters, Arrow gives the whole file up."""
        import pyarrow as pa

        log.warning("%s is no UTF-8, and read as Windows' Western text; if it is another, convert it first", self.name)
        return pa.BufferReader(self.file.read_bytes().decode("utf-8", _WESTERN).encode())

    def _has_quotes(self) -> bool:
        with open(self.file, "rb") as raw:
            mark = self.dialect.quotes.mark.encode()
            return any(mark in block for block in iter(lambda: raw.read(2**20), b""))

    def _is_well_quoted(self) -> bool:
        with open(self.file, encoding=self.dialect.encoding, errors="surrogateescape", newline="") as text:
            try:
                for _ in self.dialect.reader(text):
                    pass
            except csv.Error as error:
                return "field limit" in str(error)
        return True

    def _header_again(self, found: "Sequence[pa.Array]", at: Sequence[int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Rows that repeat the header, as in files that were joined."""
        import pyarrow.compute as pc

        same = np.full(len(found[0]) if found else 0, self.dialect.has_header)
        for column, i in zip(found, at, strict=True):
            if same.any():
                same &= pc.equal(column, self.names[i].encode()).to_numpy(zero_copy_only=False)
        return same


@lru_cache(maxsize=256)
def _dialect(file: Path, changed: tuple[int, int], known: frozenset[str]) -> Dialect:
    return find_dialect(file, known)


@lru_cache(maxsize=256)
def _log(file: Path, changed: tuple[int, int], found: Dialect) -> None:
    """Say how a file was understood, once for each of its states."""
    if found.before:
        log.warning("%s: %d lines before the table are passed over", printable(file.name), found.before)
    separators = {"\t": "tabs", ",": "commas", ";": "semicolons", " ": "spaces"}
    log.info(
        "%s: separated by %s, %s%s",
        printable(file.name),
        separators.get(found.separator, found.separator),
        "with a header" if found.has_header else "without a header: columns are named 0, 1, ...",
        ", with decimal commas" if found.decimal == "," else "",
    )


def _changed(file: Path) -> tuple[int, int]:
    try:
        status = os.stat(file)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _with_line_breaks(column: "pa.Array") -> int:
    import pyarrow.compute as pc

    return int(pc.sum(pc.match_substring_regex(column, "[\n\r]")).as_py() or 0)


def _unquoted(column: "pa.Array") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    bare = pc.replace_substring_regex(column, r'^"(?s:(.*))"$', r"\1")
    return pc.replace_substring(bare, '""', '"').cast(pa.large_binary())


def _some(column: "pa.Array", kept: np.ndarray[Any, np.dtype[np.bool_]]) -> "pa.Array":
    from nearfar.data.strings import indices

    return column.take(indices(np.flatnonzero(kept)))
