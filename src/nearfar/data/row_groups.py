"""Samples that stay in a column of parquet files until they are asked for, a row group at a time."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nearfar.data.arrow_files import mapped
from nearfar.data.contents import Contents, Files, spread
from nearfar.data.strings import Rows

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

CACHE_BYTES = 256 * 2**20
"""Row groups are kept until they pass this size together."""


class RowGroups(Contents):
    """Samples in a column of parquet files, read a row group at a time.

    The column holds texts, bytes, or the Hugging Face layout `struct{bytes, path}`, where a row without bytes names a
    file, relative to its shard. Reading rows in order touches each row group once.
    """

    in_groups: bool = True

    def __init__(self, files: Sequence[Path], column: str, footers: "Sequence[pq.FileMetaData]") -> None:
        self._files = [file.absolute() for file in files]  # arrow takes `a:b` for a kind of file system
        self._column = column
        self._footers = footers
        self._groups = [(f, g) for f, footer in enumerate(footers) for g in range(footer.num_row_groups)]
        sizes = [footers[f].row_group(g).num_rows for f, g in self._groups]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._size = sum(footers[f].row_group(g).total_byte_size for f, g in self._groups)
        self._kept: OrderedDict[int, tuple[pa.Array, pa.Array | None, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def has(self, row: int) -> bool:
        """Whether the cell is not null, or names a file."""
        _, cells, paths, at = self._cell(row)
        return bool(cells[at].is_valid or (paths is not None and paths[at].is_valid))

    @property
    def groups(self) -> Rows:
        """[N]: the number of each row's group."""
        return np.repeat(np.arange(len(self._groups)), np.diff(self._starts))

    def bytes(self, row: int) -> bytes:
        """The cell's content, or that of the file it names."""
        group, cells, paths, at = self._cell(row)
        if cells[at].is_valid:
            content: bytes = cells[at].as_buffer().to_pybytes()
            return content
        if paths is None or not paths[at].is_valid:
            raise OSError("empty cell")
        name = paths[at].as_buffer().to_pybytes().decode("utf-8", "surrogateescape")
        path = os.path.join(self._files[self._groups[group][0]].parent, name)
        return Files([path]).bytes(0)

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
            with pq.ParquetFile(mapped(self._files[file]), metadata=self._footers[file]) as shard:
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
