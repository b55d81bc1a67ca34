"""What every kind of file with rows and columns can do, so that one reader serves them all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from nearfar.data.contents import Contents
from nearfar.data.keys import printable
from nearfar.data.strings import Rows

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a modality reads: files with one of `extensions`, or rows by the first of `columns` that there is.

    With `inline` a cell is the sample itself, else its path; without `columns` the row is the sample. Labels come from
    `label_column`, which must be there, else from `labels_in` where there is one, else from the usual names, and groups
    and domains likewise; `ignore_columns`, which must be there, and those `ignored` where there are any are as if they
    were not; `further` columns are kept, None for all that are nothing else; with `about` so are all others that hold
    plain values, apart from those, for what is kept beside vectors. `recognise` says more of the columns by their names
    and first cells: which one is what (content, positive, negative, score, label ...), or None for what is none.
    """

    extensions: frozenset[str] = frozenset()
    columns: Sequence[str] = ()
    inline: bool = False
    label_column: str | None = None
    labels_in: str | None = None
    group_column: str | None = None
    groups_in: str | None = None
    domain_column: str | None = None
    domains_in: str | None = None
    ignore_columns: Sequence[str] = ()
    ignored: Sequence[str] = ()
    further: Sequence[str] | None = ()
    about: bool = False
    recognise: "Callable[[Mapping[str, Sequence[str]]], Mapping[str, str | None]] | None" = None


class Columns(NamedTuple):
    """Columns of a file: `cells` of each [N], the `numbers` [N] of its rows, and (number, reason) of those left out.

    Rows are counted from 0, with those left out and without the header.
    """

    cells: "Sequence[pa.Array]"
    numbers: Rows
    refused: Sequence[tuple[int, str]] = ()


class TableFile:
    """A file, or a part of one, with rows and columns: `names` of the columns, which are read by their places.

    Keys of rows are `before` and the row's number; rows that belong to one split all have its name as `split`.
    """

    names: Sequence[str] = ()
    classes: Sequence[str] = ()
    """Names of the columns that hold numbers of classes, by what the file itself says."""
    split: str | None = None

    def __init__(self, file: Path) -> None:
        self.file = file
        self.name = printable(file.name)
        self.before = f"{self.name}#"

    def read(self, at: Sequence[int]) -> Columns:
        """The columns at these places; raises DataError where the file is damaged as a whole."""
        raise NotImplementedError

    def lists(self, name: str) -> list[list[str]] | None:
        """The cells of a column of lists of texts, of the rows that `read` gives; None where it holds no lists."""
        return None

    def head(self, count: int) -> "dict[str, list[str]]":
        """The first cells of each column as text, at most `count`; columns of bytes or lists have none."""
        return {name: [] for name in self.names}

    @classmethod
    def stored(cls, tables: Sequence[Self], name: str, request: Request) -> Contents | None:
        """The cells of a column of all tables as they lie in the files, where they are samples too large for memory."""
        return None

    def plain(self, column: "pa.Array") -> "pa.Array":
        """A column as it is kept: texts as text, numbers in text as everyone writes them."""
        return column

    def class_names(self, at: int) -> Sequence[str] | None:
        """The names of the classes whose numbers a column holds, where the file says them."""
        return None
