"""The further columns of a file of embeddings, beside key, label and vector: read, and written along."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.data.arrow_files import reading, writing
from nearfar.data.embeddings import COLUMNS, repeated
from nearfar.errors import DataError
from nearfar.files import draft_of

if TYPE_CHECKING:
    import pyarrow as pa


def further_columns(path: str | os.PathLike[str]) -> dict[str, list[Any]]:
    """The columns of a parquet file but those of every embedding: texts, numbers, dates; no lists or structures.

    Raises DataError.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(reading(path))
        names = [field.name for field in file.schema_arrow if field.name not in COLUMNS and not _nested(field.type)]
        table: pa.Table = file.read(columns=names)
    except Exception as error:  # of an altered file arrow raises nearly anything
        raise DataError(f"{os.fspath(path)!r} cannot be read as embeddings: {str(error)[:200]}") from None
    return {name: table[name].to_pylist() for name in names}


def write_with(source: Path, target: Path, columns: Mapping[str, "pa.Array"], metadata: Mapping[bytes, bytes]) -> None:
    """Copy a parquet file of embeddings with these columns [N] added, or in place of those of the same names.

    It is read piece by piece, so that memory holds little of it. Raises as `files.draft_of`.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(reading(source))
    with draft_of(target) as draft, writing(draft) as out:
        pieces = _extended(file, columns)
        first = next(pieces)
        schema = first.schema.with_metadata({**(file.schema_arrow.metadata or {}), **metadata})
        with pq.ParquetWriter(out, schema, use_dictionary=repeated(schema)) as writer:
            writer.write_table(first.cast(schema))
            for piece in pieces:
                writer.write_table(piece.cast(schema))


def _extended(file: Any, columns: Mapping[str, "pa.Array"]) -> Iterator["pa.Table"]:
    import pyarrow as pa

    at = 0
    empty = pa.Table.from_batches([], schema=file.schema_arrow)
    batches = (pa.Table.from_batches([one]) for one in file.iter_batches(batch_size=16_384))
    for piece in batches if file.metadata.num_rows else [empty]:
        kept = piece.drop_columns([name for name in columns if name in piece.column_names])
        for name, values in columns.items():
            kept = kept.append_column(name, values.slice(at, len(piece)))
        at += len(piece)
        yield kept


def _nested(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    return bool(types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind))
