"""What the names of columns say: which one holds the samples, and which ones say what about them."""

import difflib
import re
from collections.abc import Iterable, Sequence

from nearfar.data.keys import printable
from nearfar.errors import DataError

ROLES: dict[str, tuple[str, ...]] = {
    "label": ("label", "class", "category", "target", "labels", "class_name", "label_name", "class_label", "class_id"),
    "group": ("group",),
    "domain": ("domain",),
    "split": ("split",),
}
"""What a column may say about a sample, and the names that say so; the first one present is taken."""

SCORES = ("score", "similarity", "relatedness", "gold", "gold_score", "similarity_score", "relatedness_score")
"""Names of a column that says how near a pair is, where there is a column of positives."""

MAY_BE_SPLITS = ("subset", "set", "partition", "usage", "phase", "data_set", "dataset")
"""Names of a column of splits, if that is what its cells say."""

PAIRS = ("positive", "negative")
"""Columns of further samples: what belongs with the sample of the row, and what does not."""

MORE_NEGATIVES = tuple(f"negative {number}" for number in range(2, 33))
"""Purposes of the columns of a row's other negatives."""

_INDEX = re.compile(r"|unnamed: ?\d+(_level_\d+)?(\.\d+)?|__index_level_\d+__|level_\d+", re.IGNORECASE)


def find_column(names: Sequence[str], wanted: Iterable[str]) -> str | None:
    """The column that has the first of the wanted names that there is, in any case."""
    by_name = {name.strip().lower(): name for name in reversed(names)}
    return next((by_name[name] for name in (one.strip().lower() for one in wanted) if name in by_name), None)


def named_column(file: str, names: Sequence[str], wanted: str, purpose: str) -> str:
    """The column that a user names. Raises DataError, with the nearest name that there is."""
    column = find_column(names, [wanted])
    if column is None:
        close = difflib.get_close_matches(wanted, names, n=1)
        raise DataError(
            f"{file!r} has no column {wanted!r} {purpose}: "
            + (f"did you mean {close[0]!r}?" if close else f"its columns are {shown(names)}.")
        )
    return column


def content_column(file: str, names: Sequence[str], wanted: Sequence[str]) -> str:
    """The column of the samples. Raises DataError with the names there are and those looked for."""
    column = find_column(names, wanted)
    if column is None:
        raise DataError(
            f"{file!r} has no column of samples: its columns are {shown(names)}; name one of them "
            f"{' or '.join(wanted[:3])}."
        )
    return column


def shown(names: Sequence[str]) -> str:
    """The first names of some columns for a message."""
    return ", ".join([repr(printable(name)) for name in names[:12]] + ["..."] * (len(names) > 12)) or "none"


def is_row_number(name: str) -> bool:
    """Whether a column is the numbering of rows that pandas and R write: it is never an input."""
    return _INDEX.fullmatch(name.strip()) is not None
