"""Parquet files: columns by Arrow, samples left in their row groups, class names from the Hugging Face metadata."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from nearfar.data.arrow_files import mapped, reading
from nearfar.data.contents import Contents, reason_of
from nearfar.data.folder import extension_of
from nearfar.data.keys import printable
from nearfar.data.row_groups import RowGroups
from nearfar.data.table_file import Columns, Request, TableFile
from nearfar.data.values import strings
from nearfar.errors import DataError
from nearfar.memory import available_memory

if TYPE_CHECKING:
    import pyarrow as pa


_LEAST = 16  # bytes that a row takes at least once it is a sample


class Parquet(TableFile):
    """A `.parquet` file."""

    def __init__(self, file: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        super().__init__(file)
        try:
            self.footer: pq.FileMetaData = pq.read_metadata(reading(file))
            self.schema: pa.Schema = self.footer.schema.to_arrow_schema()
            self.names = tuple(self.schema.names)
            if not 0 <= self.footer.num_rows * _LEAST <= available_memory():
                raise ValueError(f"it speaks of {self.footer.num_rows} rows")
        except OSError as error:
            raise DataError(f"{printable(str(file))!r} cannot be read: {reason_of(error)}.") from None
        except (pa.ArrowException, ValueError) as error:  # names that are no UTF-8 among others
            raise DataError(f"{printable(str(file))!r} is not a whole parquet file: {str(error)[:120]}") from None

    def read(self, at: Sequence[int]) -> Columns:
        """The columns at these places, of whatever type they are."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = [self.names[i] for i in at]
        for name in names:
            if self.names.count(name) > 1:
                raise DataError(f"{printable(str(self.file))!r} has the column {name!r} twice: rename one of them.")
        try:
            with pq.ParquetFile(mapped(self.file)) as shard:
                table = shard.read(columns=names)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{printable(str(self.file))!r} cannot be read: {str(error)[:120]}") from None
        return Columns([table.column(name) for name in names], np.arange(self.footer.num_rows))

    def lists(self, name: str) -> list[list[str]] | None:
        """The lists of texts of a column."""
        import pyarrow as pa

        kind = self.schema.field(name).type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not _is_text(kind.value_type):
            return None
        cells = self.read([list(self.names).index(name)]).cells[0].to_pylist()
        return [[text for text in cell or () if text and text.strip()] for cell in cells]

    def head(self, count: int) -> dict[str, list[str]]:
        """The first cells of each column as text; none of columns of bytes or lists, which may be large."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {field.name: field.type for field in self.schema}
        found: dict[str, list[str]] = {name: [] for name in self.names}
        short = [name for name in self.names if not (pa.types.is_nested(kinds[name]) or _is_binary(kinds[name]))]
        try:
            with pq.ParquetFile(mapped(self.file)) as shard:
                for batch in shard.iter_batches(batch_size=count, columns=short):
                    for name in short:
                        cells = strings(batch.column(name))
                        found[name] = [] if cells is None else [cell or "" for cell in cells.to_pylist()]
                    break
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise DataError(f"{printable(str(self.file))!r} cannot be read: {str(error)[:120]}") from None
        return found

    @classmethod
    def stored(cls, tables: Sequence[Self], name: str, request: Request) -> Contents | None:
        """Bytes, `struct{bytes, path}`, and texts that are samples stay in their row groups; paths are read.

        Raises DataError for a column of anything else.
        """
        import pyarrow as pa

        kind = tables[0].schema.field(name).type
        text = kind.value_type if pa.types.is_dictionary(kind) else kind
        if _is_text(text):
            stays = request.inline and text is kind
        elif _is_binary(kind):
            stays = not tables[0]._has_paths(name, request.extensions)
        elif pa.types.is_struct(kind) and _hugging_face(kind):
            stays = True
        else:
            raise DataError(
                f"The column {name!r} of {printable(str(tables[0].file))!r} holds {str(kind)[:60]}: give paths, bytes, "
                "or struct{bytes, path}."
            )
        return RowGroups([table.file for table in tables], name, [table.footer for table in tables]) if stays else None

    def _has_paths(self, name: str, extensions: frozenset[str]) -> bool:
        """Whether a column of bytes holds names of files, as programs write them that have no type for text."""
        if not self.footer.num_rows:
            return False
        first: bytes = RowGroups([self.file], name, [self.footer]).bytes(0)[:4096]
        return extension_of(first.decode("utf-8", "replace").strip()) in extensions

    @property
    def classes(self) -> Sequence[str]:  # type: ignore[override]
        """The columns that the `huggingface` metadata of the schema calls a ClassLabel."""
        return [name for i, name in enumerate(self.names) if self.class_names(i) is not None]

    def class_names(self, at: int) -> Sequence[str] | None:
        """The names of a ClassLabel in the `huggingface` metadata of the schema, where they stand."""
        try:
            features = json.loads((self.schema.metadata or {})[b"huggingface"])["info"]["features"]
            said = features[self.names[at]]["names"]
        except (KeyError, TypeError, ValueError, RecursionError):
            return None
        return [str(name) for name in said] if isinstance(said, list) else None


def _hugging_face(kind: "pa.StructType") -> bool:
    """Whether a cell has the bytes of a sample, and at most its path beside them."""
    import pyarrow as pa

    kinds = {field.name: field.type for field in kind}
    content, path = kinds.get("bytes"), kinds.get("path", pa.null())
    return (
        content is not None
        and (pa.types.is_null(content) or _is_binary(content))
        and (pa.types.is_null(path) or _is_text(path))
    )


def _is_binary(kind: "pa.DataType") -> bool:
    return str(kind) in ("binary", "large_binary", "binary_view")


def _is_text(kind: "pa.DataType") -> bool:
    return str(kind) in ("string", "large_string", "string_view")
