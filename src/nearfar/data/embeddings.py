"""Embeddings: the vectors of a source's samples, with their keys and labels; kept as parquet or npy."""

import csv
import itertools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from nearfar.data.arrow_files import reading, writing
from nearfar.data.keys import guarded, unguarded
from nearfar.errors import ConfigError, DataError
from nearfar.files import draft_of

if TYPE_CHECKING:
    import pyarrow as pa

ORIGIN = b"nearfar.data"
"""The metadata of a parquet file that says which folder or file was embedded: keys are paths from there."""
MAKER = b"nearfar.encoder"
"""The metadata of a parquet file that tells the encoder that made the vectors from others: `Encoder.fingerprint`."""
COLUMNS = ("key", "label", "vector")
"""The columns of every parquet file of embeddings; others say more about the samples."""


@dataclass(frozen=True, eq=False)
class Embeddings:
    """`vectors` [N, D] float32, `keys` [N], and `labels` [N] by name (None where a sample has none), or None.

    `origin` is the folder or file that was embedded, where it is known: keys are paths from there. `about` holds
    further columns [N rows], such as split, group or text, by which a search can be limited. `maker` is the
    `fingerprint` of the encoder, where it is known.
    """

    vectors: NDArray[np.float32]
    keys: list[str]
    labels: list[str | None] | None = None
    origin: str | None = None
    about: "pa.Table | None" = None
    maker: str | None = None

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.keys) != len(self.vectors):
            raise DataError(f"{len(self.keys)} keys do not go with vectors of shape {list(self.vectors.shape)}.")
        if self.labels is not None and len(self.labels) != len(self.keys):
            raise DataError(f"{len(self.labels)} labels do not go with {len(self.keys)} keys.")
        further = self.about
        if further is not None and (
            len(further) != len(self.keys) or not set(COLUMNS).isdisjoint(further.column_names)
        ):
            names = ", ".join(COLUMNS)
            raise DataError(f"Further columns must have {len(self.keys)} rows and other names than {names}.")

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: NDArray[np.int64]) -> "Embeddings":
        """These rows only."""
        numbers = rows.tolist()
        labels = None if self.labels is None else [self.labels[row] for row in numbers]
        about = None if self.about is None else self.about.take(rows)
        return Embeddings(
            self.vectors[rows], [self.keys[row] for row in numbers], labels, self.origin, about, self.maker
        )

    def save(
        self, path: str | os.PathLike[str], *, metadata: Mapping[bytes, bytes] | None = None, kept: str = ""
    ) -> Path:
        """Write `.parquet` (columns key, label, further ones, vector), or `.npy` with keys and labels in `.keys.csv`.

        `metadata` is kept with the columns of a parquet file; `kept` ends the message when the disk is full. Raises
        ConfigError for another ending, and as `files.draft_of` where the file cannot be written.
        """
        path = Path(path)
        suffix = check_path(path)
        if suffix == ".parquet":
            self._save_parquet(path, metadata, kept)
        else:
            self._save_npy(path, kept)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Embeddings":
        """Read what `save` wrote, or the shards `NAME-00000-of-00004` of it that several processes wrote.

        Raises DataError.
        """
        path = Path(path)
        if not path.is_file():
            if shards := _shards(path):
                return joined([cls.load(shard) for shard in shards])
            raise DataError(f"There is no file of embeddings at {str(path)!r}; `nearfar embed` makes one.")
        try:
            return cls._load_parquet(path) if check_path(path) == ".parquet" else cls._load_npy(path)
        except (DataError, ConfigError):
            raise
        except Exception as error:  # of an altered file, numpy and arrow raise nearly anything
            raise DataError(f"{str(path)!r} cannot be read as embeddings: {str(error)[:200]}") from None

    def _save_parquet(self, path: Path, metadata: Mapping[bytes, bytes] | None, kept: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        # Not `pa.array`, which imports pandas (where it is installed) to see whether it was given something of it.
        keys, labels = pa.lib.StringBuilder(), pa.lib.StringBuilder()
        keys.append_values(map(_printable, self.keys))
        labels.append_values(self._printable_labels())
        vectors = pa.py_buffer(np.ascontiguousarray(self.vectors, dtype=np.float32))
        flat = pa.Array.from_buffers(pa.float32(), self.vectors.size, [None, vectors])
        columns = {
            "key": keys.finish(),
            "label": labels.finish(),
            **({} if self.about is None else {name: self.about[name] for name in self.about.column_names}),
            "vector": pa.FixedSizeListArray.from_arrays(flat, self.vectors.shape[1]),
        }
        with draft_of(path, kept=kept) as draft, writing(draft) as file:
            table = pa.table(columns, metadata={**written_of(self.origin, self.maker), **(metadata or {})} or None)
            pq.write_table(table, file, row_group_size=16384, use_dictionary=repeated(table.schema))

    @classmethod
    def _load_parquet(cls, path: Path) -> "Embeddings":
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.ParquetFile(reading(path)).read()
        for name in ("key", "vector"):
            if name not in table.column_names:
                raise DataError(f"{str(path)!r} holds no embeddings: it has no column {name!r}.")
        column = table["vector"].combine_chunks()
        if isinstance(column.type, pa.FixedSizeListType):
            vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
        else:  # as other programs write it
            vectors = np.array(column.to_pylist())
        labels = _texts(table["label"]) if "label" in table.column_names else []
        keys = _texts(table["key"])
        vectors = np.array(vectors, dtype=np.float32)  # one's own, to write to: arrow's memory is read-only
        if None in keys:
            raise DataError(f"{str(path)!r} holds a vector without a key.")
        named = [key for key in keys if key is not None]
        origin, maker = read_from(table.schema.metadata)
        further = table.drop_columns([name for name in COLUMNS if name in table.column_names])
        some = further if further.num_columns else None
        return cls(vectors, named, labels if any(label is not None for label in labels) else None, origin, some, maker)

    def _save_npy(self, path: Path, kept: str) -> None:
        with draft_of(keys_file(path), kept=kept) as beside, draft_of(path, kept=kept) as draft:
            with draft.open("wb") as handle:
                np.save(handle, np.ascontiguousarray(self.vectors, dtype=np.float32), allow_pickle=False)
            with beside.open("w", encoding="utf-8", newline="") as text:
                self.write_keys(text)

    def write_keys(self, file: TextIO, *, header: bool = True) -> None:
        """Write keys and labels as csv, cells that a spreadsheet would run as formulas `guarded`."""
        writer = csv.writer(file)
        if header:
            writer.writerow(["key", "label"])
        for key, label in zip(self.keys, self._printable_labels(), strict=True):
            writer.writerow([guarded(_printable(key)), "" if label is None else guarded(label)])

    @classmethod
    def _load_npy(cls, path: Path) -> "Embeddings":
        vectors = np.load(path, allow_pickle=False)
        if vectors.dtype.kind not in "fiu":
            raise DataError(f"{str(path)!r} cannot be read as embeddings: it holds {vectors.dtype}, no numbers.")
        vectors = vectors.astype(np.float32, copy=False)
        beside = keys_file(path)
        if not beside.is_file():
            return cls(vectors, [f"{path.name}#{row}" for row in range(len(vectors))])
        with beside.open(encoding="utf-8", newline="") as handle:
            rows = [[unguarded(cell) for cell in row] for row in itertools.islice(csv.reader(handle), 1, None)]
        labels = [row[1] or None for row in rows]
        return cls(vectors, [row[0] for row in rows], labels if any(labels) else None)

    def _printable_labels(self) -> list[str | None]:
        labels = self.labels or [None] * len(self)
        return [None if label is None else _printable(label) for label in labels]


def written_of(origin: str | None, maker: str | None) -> dict[bytes, bytes]:
    """The metadata that says what was embedded, and by which encoder."""
    known = {ORIGIN: origin, MAKER: maker}
    return {name: text.encode("utf-8", "surrogateescape") for name, text in known.items() if text is not None}


def read_from(metadata: Mapping[bytes, bytes] | None) -> tuple[str | None, str | None]:
    """What `written_of` has written: origin and maker."""
    found = [(metadata or {}).get(name) for name in (ORIGIN, MAKER)]
    origin, maker = (None if text is None else text.decode("utf-8", "surrogateescape") for text in found)
    return origin, maker


def repeated(schema: "pa.Schema") -> list[str]:
    """The columns that may hold the same values again and again: worth a dictionary, unlike keys and vectors."""
    return [name for name in schema.names if name not in ("key", "vector")]


def check_path(path: Path) -> str:
    """The ending of a file of embeddings, `.parquet` or `.npy`; raises ConfigError for another."""
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".npy"):
        raise ConfigError(f"Embeddings are written as .parquet or .npy, got {path.name!r}.")
    return suffix


def _shards(path: Path) -> list[Path]:
    """The shards of a file, all of them or none; raises DataError when some are missing."""
    known = re.compile(rf"{re.escape(path.stem)}-\d{{5,9}}-of-(\d{{5,9}}){re.escape(path.suffix)}")
    names = {entry.name: found for entry in path.parent.glob("*") if (found := known.fullmatch(entry.name))}
    if not names:
        return []
    world = int(names[max(names)][1])
    wanted = (f"{path.stem}-{rank:05d}-of-{world:05d}{path.suffix}" for rank in range(world))
    missing = list(itertools.islice((name for name in wanted if name not in names), 5))
    if missing:
        raise DataError(f"{str(path)!r} is in {world} shards, and these are missing: {', '.join(missing)}.")
    return [path.with_name(name) for name in sorted(names)]


def joined(parts: list[Embeddings]) -> Embeddings:
    """Embeddings one behind the other, of one origin or none; raises DataError where they do not go together."""
    dims = sorted({part.vectors.shape[1] for part in parts})
    if len(dims) > 1:
        raise DataError(f"The shards have vectors of {' and '.join(map(str, dims))} dimensions: of several encoders?")
    keys = [key for part in parts for key in part.keys]
    labelled = any(part.labels is not None for part in parts)
    labels = [label for part in parts for label in part.labels or [None] * len(part)] if labelled else None
    origin = parts[0].origin if len({part.origin for part in parts}) == 1 else None
    maker = parts[0].maker if len({part.maker for part in parts}) == 1 else None
    about = None
    if any(part.about is not None for part in parts):
        import pyarrow as pa

        each = [pa.table({"": pa.nulls(len(part))}) if part.about is None else part.about for part in parts]
        try:
            about = pa.concat_tables(each, promote_options="permissive")
        except pa.ArrowTypeError as error:
            raise DataError(f"Columns of one name hold different things: {str(error)[:200]}.") from None
        about = about.drop_columns([""] if "" in about.column_names else [])
    return Embeddings(np.concatenate([part.vectors for part in parts]), keys, labels, origin, about, maker)


def file_of_side(side: str) -> str:
    """The file in a run's folder that keeps the vectors of one side of its samples, where they have several."""
    return f"embeddings-{side}.parquet"


def holds_embeddings(path: str | os.PathLike[str], dim: int) -> bool:
    """Whether there is a file of embeddings of `dim` dimensions, or its shards: by what it holds, not by its name."""
    file = Path(path)
    if file.suffix.lower() not in (".parquet", ".npy"):
        return False
    try:
        if not file.is_file():
            return bool(_shards(file))
        if file.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            return {"key", "vector"} <= set(pq.read_schema(reading(file)).names)
        shape = np.load(file, mmap_mode="r", allow_pickle=False).shape
        return keys_file(file).is_file() or (len(shape) == 2 and shape[1] == dim)
    except Exception:  # of an altered file, numpy and arrow raise nearly anything: whoever reads it says what is wrong
        return False


def keys_file(path: Path) -> Path:
    """Where the keys and labels of a `.npy` file stand."""
    return path.with_suffix(".keys.csv")


def _texts(column: Any) -> list[str | None]:
    return [None if cell is None else str(cell) for cell in column.to_pylist()]


def _printable(text: str) -> str:
    """A text that utf-8 can hold: a file name that is not text keeps its odd bytes as backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
