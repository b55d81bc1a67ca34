"""How a text file of separated values is written, detected from its head: encoding, separator, header, decimal sign."""

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nearfar.data.contents import reason_of
from nearfar.data.keys import printable
from nearfar.data.values import CURRENCIES, MISSING
from nearfar.data.words import count_words
from nearfar.errors import DataError

_HEAD = 2**20
_ROWS = 200
_SEPARATORS = ",;\t|"
_SPACES = " \u00a0\u202f\u2009'\u2019"

COMMA = re.compile(rf"[+-]?((\d{{1,3}}([.{_SPACES}]\d{{3}})+|\d+)(,\d*)?|,\d+)([eE][+-]?\d+)?")
"""A number with a decimal comma, its thousands perhaps apart."""
POINT = re.compile(rf"[+-]?((\d{{1,3}}([,{_SPACES}]\d{{3}})+|\d+)(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
"""A number with a decimal point, its thousands perhaps apart."""

_AROUND = re.compile(rf"([+\u2212-]?[{CURRENCIES}]?[ \u00a0\u202f]?)(.*?)([ \u00a0\u202f]?[%{CURRENCIES}]?)", re.DOTALL)
"""A cell: sign and currency, the number itself, and the unit behind it."""

# Other than three digits behind a sign, or both signs in one number, can be read in one way only.
_SURELY = (
    r"[+-]?(\d*{0}(\d{{1,2}}|\d{{4,}})|0{0}\d+|\d{{1,3}}({1}\d{{3}})+{0}\d+|\d{{1,3}}({1}\d{{3}}){{2,}})([eE][+-]?\d+)?"
)
_SURELY_COMMA = re.compile(_SURELY.format(",", r"\."))
_SURELY_POINT = re.compile(_SURELY.format(r"\.", ","))


class Quotes(NamedTuple):
    """What fields may stand in; a quote within one is written twice, or `escaped` by a backslash."""

    mark: str = '"'
    escaped: bool = False


@dataclass(frozen=True)
class Dialect:
    """How a file is written: `names` of its columns, and `skip` lines before the first row.

    Of those, `before` are comments and titles that stand before the table.

    Without a header the columns are named 0, 1, ... `decimal` is a point or a comma. Fields may stand in
    `quotes`.
    """

    encoding: str
    separator: str
    quotes: Quotes
    names: tuple[str, ...]
    has_header: bool
    skip: int
    before: int
    decimal: str

    def reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """The rows of lines, as strictly as they can be read; raises csv.Error for a quote that stays open."""
        rows: Iterator[list[str]] = _reader(lines, self.separator, self.quotes, strict=True)
        return rows


def find_dialect(file: Path, known: Iterable[str]) -> Dialect:
    """The dialect of a file; a line with one of the `known` names (lower case) is a header. Raises DataError."""
    encoding, text, cut = _head(file)
    lines = io.StringIO(text, newline="").readlines()
    skip = next((i for i, line in enumerate(lines) if line.strip("\r\n")), None)
    if skip is None:
        raise DataError(f"{printable(str(file))!r}: the file is empty.")
    excel = re.fullmatch(r'"?sep=(.)"?', lines[skip].strip("\r\n"))  # a line for Excel
    skip += bool(excel)
    lines = lines[skip:-1] if cut and len(lines) > skip + 1 else lines[skip:]
    if "\0" in "".join(lines[:1]):
        raise DataError(f"{printable(str(file))!r}: the file is not text.")
    single = re.match(rf"'[^']*'[{_SEPARATORS}\r\n]", lines[0] if lines else "")
    quotes = Quotes("'" if single else '"', '\\"' in text and '""' not in text)
    before = 0 if excel else _lines_before(lines, quotes, frozenset(known))
    lines, skip = lines[before:], skip + before
    separator = excel[1] if excel else _separator(lines, quotes, file.suffix.lower() == ".tsv")
    first, height = _first(file, lines, separator, quotes)
    body = _rows(lines[height:], separator, quotes)
    longer = [row for row in body if len(row) == len(first) + 1]
    if 2 * len(longer) > len(body):  # row names that have no name, as R writes them, or a separator at each end
        first = [*first, ""] if not any(row[-1] for row in longer) else ["", *first]
    body = [row for row in body if len(row) == len(first)]
    has_header = _is_header(first, body, frozenset(known))
    return Dialect(
        encoding=encoding,
        separator=separator,
        quotes=quotes,
        names=tuple(_readable(name) for name in first) if has_header else tuple(map(str, range(len(first)))),
        has_header=has_header,
        skip=skip + height if has_header else skip,
        before=before,
        decimal=_decimal(itertools.chain(*body, [] if has_header else first), separator),
    )


def plain_number(cell: str, decimal: str) -> str:
    """A number without marks between its thousands, and with a decimal point; anything else as it is."""
    before, number, unit = _apart(cell)
    if (POINT if decimal == "." else COMMA).fullmatch(number) is None:
        return cell
    return before + re.sub(f"[{_SPACES}{'.' if decimal == ',' else ','}]", "", number).replace(",", ".") + unit


def _head(file: Path) -> tuple[str, str, bool]:
    """The encoding, the first part of the text, and whether there is more."""
    try:
        with open(file, "rb") as raw:
            head = raw.read(_HEAD + 1)
    except OSError as error:
        raise DataError(f"{printable(str(file))!r} cannot be read: {reason_of(error)}.") from None
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "surrogateescape")
    return encoding, head[:_HEAD].decode(encoding, errors), len(head) > _HEAD


def head_of(file: Path, dialect: Dialect) -> list[list[str]]:
    """The first rows of a file, those with another number of fields left out."""
    lines = io.StringIO(_head(file)[1], newline="").readlines()[dialect.skip :]
    rows = _rows(lines, dialect.separator, dialect.quotes)
    return [row for row in rows if len(row) == len(dialect.names)]


def _reader(lines: Iterable[str], separator: str, quotes: Quotes, **more: Any) -> Any:
    escape = "\\" if quotes.escaped else None
    return csv.reader(lines, delimiter=separator, quotechar=quotes.mark, escapechar=escape, **more)


def _first(file: Path, lines: Sequence[str], separator: str, quotes: Quotes) -> tuple[list[str], int]:
    """The fields of the first row, and its lines: a field in quotes may have several, a quote that stays open not."""
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        reader = _reader(lines, separator, quotes, strict=True, quoting=quoting)
        try:
            return next(reader, []), reader.line_num
        except csv.Error as error:
            reason = error
    raise DataError(f"{printable(str(file))!r}: its header is no row of a table: {reason}.")


def _rows(lines: Sequence[str], separator: str, quotes: Quotes) -> list[list[str]]:
    """The first rows that are not empty, as far as they can be read."""
    found: list[list[str]] = []
    reader = _reader(lines, separator, quotes)
    while len(found) < _ROWS:
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error:
            continue
        if row:
            found.append([cell.strip() for cell in row])
    return found


def _separator(lines: Sequence[str], quotes: Quotes, tabs: bool) -> str:
    """The separator that makes rows of equal length, whose cells hold none of the others."""
    if tabs and "\t" in lines[0]:
        return "\t"

    def fits(separator: str) -> tuple[bool, float, float, int]:
        rows = _rows(lines[:_ROWS], separator, quotes)
        widths = [len(row) for row in rows]
        width = max(set(widths), key=widths.count, default=1)
        others = set(_SEPARATORS) - {separator}
        cells = list(itertools.chain(*rows))
        unclean = sum(not others.isdisjoint(cell) and not COMMA.fullmatch(_apart(cell)[1]) for cell in cells)
        return bool(rows) and len(rows[0]) > 1, round(widths.count(width) / max(1, len(rows)), 1), -unclean, width

    best = max(_SEPARATORS, key=fits)
    if fits(best)[0]:
        return best
    return " " if _are_spaced(lines, quotes) else "\t" if tabs else ","


def _are_spaced(lines: Sequence[str], quotes: Quotes) -> bool:
    """Whether lines are rows of at least three fields, most of them numbers, with a space between, as R writes them."""
    first, *body = _rows(lines[:_ROWS], " ", quotes) or [[]]
    widths = {len(row) for row in body}
    if len(widths) != 1 or max(widths) < 3 or len(first) not in (max(widths), max(widths) - 1):
        return False
    return 2 * sum(map(is_number, itertools.chain(*body))) > sum(map(len, body))


def _lines_before(lines: Sequence[str], quotes: Quotes, known: frozenset[str]) -> int:
    """How many lines of comments (#) or titles stand before a table, whose rows have more fields."""
    found = (_before_rows_of(lines[:_ROWS], separator, quotes, known) for separator in _SEPARATORS)
    return next((count for count in found if count), 0)


def _before_rows_of(lines: Sequence[str], separator: str, quotes: Quotes, known: frozenset[str]) -> int:
    first = next(iter(_rows(lines[:1], separator, quotes)), [])
    if sum(map(bool, first)) > 1 and not lines[0].startswith("#"):
        return 0
    widths = [len(row) for row in _rows(lines, separator, quotes)]
    width = max(set(widths), key=widths.count, default=1)
    count = 0
    while count < len(lines):
        cells = next(iter(_rows([lines[count]], separator, quotes)), [])
        filled = [cell for cell in cells if cell]
        is_comment = lines[count].startswith("#") and len(cells) != width
        is_title = len(filled) < 2 < width and len(cells) in (0, 1, width) and lines[count].count(quotes.mark) % 2 == 0
        if not is_comment and (not is_title or not known.isdisjoint(map(str.lower, filled))):
            break
        count += 1
    after = _rows(lines[count:], separator, quotes) if count else []
    regular = [row for row in after if len(row) == width]
    if width < 2 or not after or after[0] not in regular or 10 * len(regular) < 9 * len(after):
        return 0
    return count if all(after[0]) or lines[0].startswith("#") else 0


def _decimal(cells: Iterable[str], separator: str) -> str:
    """The decimal sign that more cells need; where none tells, the one that there is, as far as it is no separator."""
    comma = point = 0
    signs = set[str]()
    for cell in cells:
        number = _apart(cell)[1]
        comma += _SURELY_COMMA.fullmatch(number) is not None
        point += _SURELY_POINT.fullmatch(number) is not None
        signs |= {",", "."}.intersection(number) if is_number(number) else set()
    if comma == point:
        return "," if separator != "," and signs == {","} else "."
    return "," if comma > point else "."


def _is_header(first: Sequence[str], body: Sequence[Sequence[str]], known: frozenset[str]) -> bool:
    """Whether the first line names the columns, by what stands below each of its cells.

    A name over numbers speaks for it, a text that comes again below or stands over texts against it; numbers are names
    where they go up or down in steps as years and wavelengths do and the rows below do not.
    """
    cells = [cell.strip() for cell in first]
    if not known.isdisjoint(cell.lower() for cell in cells):
        return True
    body = [row for row in body if list(row) != cells]  # of files that were joined
    score, numeric = 0, list[int]()
    for i, cell in enumerate(cells):
        below = [row[i] for row in body if row[i].lower() not in MISSING]
        if is_number(cell):
            numeric.append(i)
        elif below and cell.lower() not in MISSING:
            if 2 * sum(map(is_number, below)) > len(below):
                score += 3
            elif cell in below or (_is_text(cell) and 2 * sum(map(_is_text, below)) > len(below)):
                score -= 2
            elif 2 * len(set(below)) <= len(below):
                score += 1
    if score or not numeric:
        return score >= 0
    numbers = np.array([_value(cells[i]) for i in numeric])
    return _are_names(numbers, [[row[i] for i in numeric] for row in body], alone=len(numeric) == len(cells))


def _is_text(cell: str) -> bool:
    return count_words(cell) > 2


def _are_names(
    numbers: "np.ndarray[tuple[int], np.dtype[np.float64]]", body: Sequence[Sequence[str]], *, alone: bool
) -> bool:
    """Whether numbers name the columns below them; `alone` where no text stands beside them."""
    steps = np.diff(numbers)
    if not body or not ((steps > 0).all() or (steps < 0).all()):
        return False
    rows = np.array([[_value(cell) for cell in row] for row in body])

    def even(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> bool:
        return len(values) > 2 and bool(np.allclose(np.diff(values), values[1] - values[0], rtol=1e-6, atol=0))

    def share(test: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> float:
        return float(test.mean())

    with np.errstate(invalid="ignore"):
        climbing = np.array([bool((np.diff(row) > 0).all() or (np.diff(row) < 0).all()) for row in rows])
        fractions = share((rows != np.round(rows)).any(axis=0))
        low, high = np.fmin.reduce(rows, axis=0), np.fmax.reduce(rows, axis=0)
        apart = ((numbers < low - (high - low)) | (numbers > high + (high - low))).all()
    whole = bool((numbers == np.round(numbers)).all())
    if whole and fractions >= 0.5 and (len(numbers) > 2 or (len(numbers) == 2 and abs(steps[0]) == 1)):
        return True
    if even(numbers) and share(np.array([even(row) for row in rows])) <= 0.05:
        return True
    return (len(numbers) >= 5 and share(climbing) <= 0.05) or (len(rows) >= (10 if alone else 3) and bool(apart))


def is_number(cell: str) -> bool:
    """Whether a cell is a number as some country writes it, perhaps of percent or money."""
    number = _apart(cell)[1]
    return (POINT.fullmatch(number) or COMMA.fullmatch(number)) is not None


def _apart(cell: str) -> tuple[str, str, str]:
    """The sign and currency, the number itself, and the unit of a cell."""
    if cell[-1:].isdigit() and (cell[0].isdigit() or cell[0] in "+-."):  # nearly all: nothing stands around them
        return "", cell, ""
    found = _AROUND.fullmatch(cell)
    assert found is not None  # it takes any text
    return found[1], found[2], found[3]


def _value(cell: str) -> float:
    before, number, _ = _apart(cell)
    sign = "-" if before[:1] in ("-", "\u2212") else ""
    try:
        return float(sign + plain_number(number, "." if POINT.fullmatch(number) else ","))
    except ValueError:
        return float("nan")


def _readable(name: str) -> str:
    try:
        return name.encode("utf-8", "surrogateescape").decode().strip()
    except UnicodeDecodeError:
        return name.encode("utf-8", "surrogateescape").decode("cp1252", "replace").strip()
