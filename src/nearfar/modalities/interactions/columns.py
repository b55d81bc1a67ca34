"""Which columns of a table say who did what, how it was rated and when, and what their cells say."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearfar.data.columns import find_column, shown
from nearfar.data.values import encode
from nearfar.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from nearfar.contract import Rows

USERS = (
    *("user", "user_id", "userid", "customer", "customer_id", "customerid", "reviewer_id", "reviewerid"),
    *("session", "session_id", "sessionid", "visitor_id", "visitorid", "uid"),
)
ITEMS = (
    *("item", "item_id", "itemid", "iid", "movie_id", "movieid", "product", "product_id", "productid", "asin"),
    *("parent_asin", "song_id", "songid", "track_id", "trackid", "artist_id", "artistid", "book_id", "bookid"),
)
RATINGS = ("rating", "ratings", "stars", "overall")
TIMES = ("timestamp", "time", "date", "datetime", "unixreviewtime", "unix_time", "created_at", "rated_at")
TITLES = ("title", "name", "item_name", "product_title", "product_name")
"""Names of columns; the first one present is taken."""


@dataclass(frozen=True)
class Codes:
    """A column of names: `names` of what stands in it, and of each row the number of its name, -1 where it is empty."""

    names: list[str]
    at: "Rows"

    def only(self, rows: "Rows") -> "Codes":
        """Those of some rows, which all have a name, and the names that these rows have."""
        there, at = np.unique(self.at[rows], return_inverse=True)
        return Codes([self.names[number] for number in there.tolist()], at.reshape(-1).astype(np.int64))


def names_in(table: "pa.Table", wanted: Sequence[str], what: str) -> Codes:
    """The column of users or items; raises DataError where there is none, or none that holds names."""
    found = find_column(table.column_names, wanted)
    if found is None:
        raise DataError(
            f"There is no column of {what}: the columns are {shown(table.column_names)}; name one of them "
            f"{' or '.join(wanted[:3])}."
        )
    column = encode(table[found])
    if column is None:
        raise DataError(f"The column {found!r} holds lists or structures, and no {what}.")
    at = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Codes([str(name) for name in column.dictionary.to_pylist()], at)


def numbers_in(table: "pa.Table", wanted: Sequence[str]) -> NDArray[np.float64] | None:
    """The column of ratings or times as numbers [N], NaN where a cell holds none; None where there is no such column.

    Dates are seconds since 1970.
    """
    found = find_column(table.column_names, wanted)
    column = None if found is None else encode(table[found])
    if column is None:
        return None
    cells = column.dictionary.to_pylist()
    values = np.array([*map(_number, cells), np.nan])
    numbers: NDArray[np.float64] = values[column.indices.fill_null(len(cells)).to_numpy(zero_copy_only=False)]
    return numbers


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(cell)
    except ValueError:
        return float("nan")
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
