"""Manifests in parquet: the samples stay in their column until they are asked for."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.errors import DataError
from nearfar.modalities.contents import Contents, Shards, reason_of
from nearfar.modalities.keys import printable, unique
from nearfar.modalities.sheet import PAIRS, ROLES, Sheet, content_column, find_column, key_of, of_cells

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


def read(files: Sequence[Path], columns: Sequence[str], *, inline: bool) -> Sheet:
    """The rows of all shards, which have the same columns; class names come from the Hugging Face metadata.

    A column of bytes, texts (`inline`) or `struct{bytes, path}` holds the samples; one of texts else holds paths.
    Raises DataError where a shard cannot be read or differs from the first.
    """
    footers = [_footer(file) for file in files]
    schema = footers[0].schema.to_arrow_schema()
    for file, footer in zip(files, footers, strict=True):
        if footer.schema.to_arrow_schema().names != schema.names:
            raise DataError(f"{printable(str(file))!r} has other columns than {files[0].name!r}: give one data set.")
    content = content_column(files[0], schema.names, columns)
    found = {role: find_column(schema.names, wanted) for role, wanted in ROLES.items()}
    pairs = {role: find_column(schema.names, [role]) for role in PAIRS}
    held = _held(files, schema, content, footers, inline)
    counts = [footer.num_rows for footer in footers]
    numbered = [f"{printable(file.name)}#{row}" for file, n in zip(files, counts, strict=True) for row in range(n)]
    return Sheet(
        keys=numbered if held[1] is None else unique(held[1]),
        contents=held[0],
        cells={role: _values(files, column) for role, column in found.items() if column is not None},
        class_names=_class_names(schema, found["label"]),
        pairs={
            role: _held(files, schema, column, footers, inline)[0]
            for role, column in pairs.items()
            if column is not None
        },
    )


def split_names(files: Sequence[Path]) -> list[str]:
    """What stands in the column `split`, in order of appearance; nothing without such a column."""
    column = find_column(_footer(files[0]).schema.to_arrow_schema().names, ROLES["split"])
    if column is None:
        return []
    return list(dict.fromkeys(str(value).strip() for value in _values(files, column) if value not in (None, "")))


def _held(
    files: Sequence[Path], schema: "pa.Schema", column: str, footers: Sequence["pq.FileMetaData"], inline: bool
) -> tuple[Contents, list[str] | None]:
    import pyarrow as pa

    kind = schema.field(column).type
    if pa.types.is_struct(kind) and "bytes" in {field.name for field in kind}:
        return Shards(files, column, footers), None
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return Shards(files, column, footers), None
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise DataError(
            f"The column {column!r} of {printable(str(files[0]))!r} holds {str(kind)[:60]}: give paths, bytes, or "
            "struct{bytes, path}."
        )
    if inline and not pa.types.is_dictionary(schema.field(column).type):
        return Shards(files, column, footers), None
    cells = _values(files, column)
    folders = [file.parent for file, footer in zip(files, footers, strict=True) for _ in range(footer.num_rows)]
    keys = [key_of(cell or "", folder) for cell, folder in zip(cells, folders, strict=True)]
    return of_cells(cells, folders, inline), None if inline else keys


def _footer(file: Path) -> "pq.FileMetaData":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(file)
    except pa.ArrowException as error:
        raise DataError(f"{printable(str(file))!r} is not a whole parquet file: {str(error)[:120]}") from None
    except OSError as error:
        raise DataError(f"{printable(str(file))!r} cannot be read: {reason_of(error)}.") from None


def _values(files: Sequence[Path], column: str) -> list[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    values: list[Any] = []
    for file in files:
        try:
            with pq.ParquetFile(file, memory_map=True) as shard:
                values += shard.read(columns=[column]).column(0).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"The column {column!r} of {printable(str(file))!r} cannot be read: {str(error)[:120]}"
            ) from None
    return values


def _class_names(schema: "pa.Schema", label: str | None) -> list[str] | None:
    """The names of a ClassLabel in the schema's `huggingface` metadata, where they stand."""
    try:
        said = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return [str(name) for name in said] if isinstance(said, list) else None
