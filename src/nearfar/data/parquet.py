"""Manifests in parquet: the samples stay in their column until they are asked for."""

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.contents import Contents, Files, joined, reason_of, spread
from nearfar.data.keys import printable, unique
from nearfar.data.labels import Column
from nearfar.data.sheet import PAIRS, ROLES, Sheet, Wanted, content_column, find_column, folder_of, key_of, of_cells
from nearfar.data.strings import Strings, StringsBuilder
from nearfar.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Rows = NDArray[np.int64]

CACHE_BYTES = 256 * 2**20
"""Row groups are kept until they pass this size together."""


def read(files: Sequence[Path], wanted: Wanted) -> Sheet:
    """The rows of all shards, which have the same columns; class names come from the Hugging Face metadata.

    A column of bytes, texts (where these are samples) or `struct{bytes, path}` holds the samples; one of texts else
    holds paths. Raises DataError where a shard cannot be read or differs from the first.
    """
    footers = [_footer(file) for file in files]
    schema = _schema(files[0], footers[0])
    for file, footer in zip(files, footers, strict=True):
        if _schema(file, footer).names != schema.names:
            raise DataError(f"{printable(str(file))!r} has other columns than {files[0].name!r}: give one data set.")
    content = content_column(files[0], schema.names, wanted.columns)
    found = {role: find_column(schema.names, known) for role, known in ROLES.items()}
    pairs = {role: find_column(schema.names, [role]) for role in PAIRS}
    for column in (content, *found.values(), *pairs.values()):
        if column is not None and schema.names.count(column) > 1:
            raise DataError(f"{printable(str(files[0]))!r} has the column {column!r} twice: rename one of them.")
    contents, keys = _held(files, schema, content, footers, wanted.inline)
    if keys is None:
        counted = zip(files, footers, strict=True)
        keys = Strings.of(f"{printable(file.name)}#{row}" for file, footer in counted for row in range(footer.num_rows))
    grouped = isinstance(contents, RowGroups)
    return Sheet(
        keys=keys,
        contents=contents,
        cells={role: _column(files, column) for role, column in found.items() if column is not None},
        class_names=class_names(schema.metadata, found["label"]),
        pairs={
            role: _held(files, schema, column, footers, wanted.inline)[0]
            for role, column in pairs.items()
            if column is not None
        },
        shards=contents.groups if isinstance(contents, RowGroups) else None,
        size=sum(file.stat().st_size for file in files) if grouped else 0,
    )


def split_names(files: Sequence[Path], wanted: Wanted) -> list[str]:
    """What stands in the column `split`, in order of appearance; nothing without such a column."""
    column = find_column(_schema(files[0], _footer(files[0])).names, ROLES["split"])
    if column is None:
        return []
    return [value.strip() for value in _column(files, column).values if value]


class RowGroups:
    """Samples in a column of parquet files, read a row group at a time.

    The column holds texts, bytes, or the Hugging Face layout `struct{bytes, path}`, where a row without bytes names a
    file, relative to its shard. Reading rows in order touches each row group once.
    """

    in_groups: bool = True

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

    def array(self, row: int) -> NDArray[Any] | None:
        """None: the content is bytes."""
        return None

    def path(self, row: int) -> str | None:
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


def _held(
    files: Sequence[Path], schema: "pa.Schema", column: str, footers: Sequence["pq.FileMetaData"], inline: bool
) -> tuple[Contents, Strings | None]:
    """The contents in a column, and their keys where they have names of their own."""
    import pyarrow as pa

    kind = schema.field(column).type
    if pa.types.is_struct(kind) and _hugging_face(kind):
        return RowGroups(files, column, footers), None
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return RowGroups(files, column, footers), None
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise DataError(
            f"The column {column!r} of {printable(str(files[0]))!r} holds {str(kind)[:60]}: give paths, bytes, or "
            "struct{bytes, path}."
        )
    if inline and not pa.types.is_dictionary(schema.field(column).type):
        return RowGroups(files, column, footers), None
    parts, keys = list[Contents](), StringsBuilder()
    for file in files:
        cells, folder = StringsBuilder(), folder_of(file)
        for cell in _cells(file, column):
            cells.append(cell or "")
            keys.append(key_of(cell or "", folder))
        parts.append(of_cells(cells.finish(), file.parent, inline))
    return joined(parts), None if inline else unique(keys.finish())


def _hugging_face(kind: "pa.StructType") -> bool:
    """Whether a cell has the bytes of a sample, and at most its path beside them."""
    import pyarrow as pa

    kinds = {field.name: field.type for field in kind}
    found = kinds.get("bytes"), kinds.get("path", pa.null())
    return found[0] in (pa.binary(), pa.large_binary(), pa.null()) and found[1] in (
        pa.string(), pa.large_string(), pa.null(),
    )  # fmt: skip


def _footer(file: Path) -> "pq.FileMetaData":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(file)
    except pa.ArrowException as error:
        raise DataError(f"{printable(str(file))!r} is not a whole parquet file: {str(error)[:120]}") from None
    except OSError as error:
        raise DataError(f"{printable(str(file))!r} cannot be read: {reason_of(error)}.") from None


def _schema(file: Path, footer: "pq.FileMetaData") -> "pa.Schema":
    import pyarrow as pa

    try:
        schema = footer.schema.to_arrow_schema()
        _ = schema.names  # decoded when asked for
        return schema
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{printable(str(file))!r} is not a whole parquet file: {str(error)[:120]}") from None


def _cells(file: Path, column: str) -> Iterator[Any]:
    """The cells of a column, one by one; bytes of texts that are no UTF-8 survive as escapes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, memory_map=True) as shard:
            for batch in shard.iter_batches(columns=[column]):
                yield from _plain(batch.column(0))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"The column {column!r} of {printable(str(file))!r} cannot be read: {str(error)[:120]}"
        ) from None


def _plain(cells: "pa.Array") -> list[Any]:
    import pyarrow as pa

    try:
        return list(cells.to_pylist())
    except UnicodeDecodeError:
        found = cells.cast(pa.large_binary()).to_pylist()
        return [None if cell is None else cell.decode("utf-8", "surrogateescape") for cell in found]


def _column(files: Sequence[Path], column: str) -> Column:
    """The cells of a column that says something about the samples."""
    return Column(cell for file in files for cell in _cells(file, column))


def class_names(metadata: "Mapping[bytes, bytes] | None", label: str | None) -> list[str] | None:
    """The names of a ClassLabel in the `huggingface` metadata of a schema, where they stand."""
    try:
        said = json.loads((metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return [str(name) for name in said] if isinstance(said, list) else None
