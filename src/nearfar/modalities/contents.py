"""Where the bytes of samples lie: in files, in cells of text, or in parquet shards. They are read when asked for."""

import errno
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.int64]

CACHE_BYTES = 256 * 2**20
"""Row groups of parquet shards are kept until they pass this size together."""


class Contents(Protocol):
    """The raw content of N samples. Reading raises OSError where there is nothing to read."""

    def bytes(self, row: int) -> bytes:
        """The content of one sample."""

    def path(self, row: int) -> Path | None:
        """The file that is the sample, where it is one."""

    def near(self, rows: Rows, count: int) -> Rows:
        """At most `count` of `rows`, evenly spread as far as reading them stays cheap."""


class Files:
    """Samples that are files, one each; `None` stands for a missing one."""

    def __init__(self, paths: Sequence[str | None]) -> None:
        self._paths = paths

    def bytes(self, row: int) -> bytes:
        """The file's content; raises OSError with a short reason where it is no plain, readable file."""
        path = self._paths[row]
        if path is None:
            raise OSError("no path given")
        check_plain_file(path)
        with open(path, "rb") as file:
            return file.read()

    def path(self, row: int) -> Path | None:
        """The file."""
        path = self._paths[row]
        return None if path is None else Path(path)

    def near(self, rows: Rows, count: int) -> Rows:
        """Evenly spread rows."""
        return spread(rows, count)


class Cells:
    """Samples that are texts (read as UTF-8) or bytes held in memory."""

    def __init__(self, cells: Sequence[str | bytes | None]) -> None:
        self._cells = cells

    def bytes(self, row: int) -> bytes:
        """The cell's content."""
        cell = self._cells[row]
        if cell is None:
            raise OSError("empty cell")
        return cell.encode("utf-8", "surrogateescape") if isinstance(cell, str) else cell

    def path(self, row: int) -> Path | None:
        """None: a cell is no file."""
        return None

    def near(self, rows: Rows, count: int) -> Rows:
        """Evenly spread rows."""
        return spread(rows, count)


class Shards:
    """Samples in a column of parquet files, read a row group at a time.

    The column holds texts, bytes, or the Hugging Face layout `struct{bytes, path}`, where a row without bytes names a
    file, relative to its shard. Reading rows in order touches each row group once.
    """

    def __init__(self, files: Sequence[Path], column: str, footers: Sequence[Any]) -> None:
        self._files = files
        self._column = column
        self._footers = footers
        self._groups = [(f, g) for f, footer in enumerate(footers) for g in range(footer.num_row_groups)]
        sizes = [footers[f].row_group(g).num_rows for f, g in self._groups]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._size = sum(footers[f].row_group(g).total_byte_size for f, g in self._groups)
        self._kept: OrderedDict[int, tuple[pa.Array, pa.Array | None, int]] = OrderedDict()
        self._lock = threading.Lock()

    def bytes(self, row: int) -> bytes:
        """The cell's content, or that of the file it names."""
        group, cells, paths, at = self._cell(row)
        value = cells[at].as_py()
        if value is not None:
            return value.encode("utf-8") if isinstance(value, str) else bytes(value)
        name = None if paths is None else paths[at].as_py()
        if name is None:
            raise OSError("empty cell")
        path = os.path.join(self._files[self._groups[group][0]].parent, name)
        return Files([path]).bytes(0)

    def path(self, row: int) -> Path | None:
        """None: a row is no file."""
        return None

    def near(self, rows: Rows, count: int) -> Rows:
        """Evenly spread rows; of a large data set from 16 row groups only, for one row costs its whole group."""
        if self._size <= CACHE_BYTES:
            return spread(rows, count)
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        return spread(rows[np.isin(groups, spread(np.unique(groups), 16))], count)

    def _cell(self, row: int) -> "tuple[int, pa.Array, pa.Array | None, int]":
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        with self._lock:
            cells, paths = self._read(group)
        return group, cells, paths, row - int(self._starts[group])

    def _read(self, group: int) -> "tuple[pa.Array, pa.Array | None]":
        if group in self._kept:
            self._kept.move_to_end(group)
            return self._kept[group][:2]
        import pyarrow as pa
        import pyarrow.parquet as pq

        file, number = self._groups[group]
        try:
            with pq.ParquetFile(self._files[file], metadata=self._footers[file], memory_map=True) as shard:
                table = shard.read_row_group(number, columns=[self._column], use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise OSError(f"damaged row group {number}: {str(error)[:80].strip()}") from None
        column = table.column(0).combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # more than 2 GiB: arrow keeps it in pieces
            column = pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0)
        cells, paths = column, None
        if pa.types.is_struct(column.type):
            names = {field.name for field in column.type}
            cells, paths = column.field("bytes"), column.field("path") if "path" in names else None
        self._kept[group] = cells, paths, column.nbytes
        while len(self._kept) > 1 and sum(size for _, _, size in self._kept.values()) > CACHE_BYTES:
            self._kept.popitem(last=False)
        return cells, paths


def check_plain_file(path: str | os.PathLike[str]) -> None:
    """Raise OSError with a short reason where a path is no plain file: reading a pipe or device would never end."""
    if "://" in (name := os.fspath(path)) and not os.path.exists(name):
        raise OSError("a web address: download it first")
    if "\0" in name:
        raise OSError("not a path")
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise OSError("a folder, not a file")
    if not stat.S_ISREG(mode):
        raise OSError("not a plain file")


def reason_of(error: OSError) -> str:
    """A few words on why a file could not be read."""
    known = {
        errno.ENOENT: "no such file",
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.ENOTDIR: "no such file",
        errno.EISDIR: "a folder, not a file",
        errno.ELOOP: "a link that leads to itself",
        errno.ENAMETOOLONG: "name too long",
    }
    if error.errno is None:
        return str(error)[:120] or type(error).__name__
    return known.get(error.errno, error.strerror or type(error).__name__)


def spread(rows: Rows, count: int) -> Rows:
    """At most `count` of `rows`, evenly spread."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]
