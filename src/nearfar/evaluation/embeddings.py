"""Embeddings: the vectors of a source's samples, with their keys and labels; kept as parquet or npy."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nearfar.contract import Encoder, Rows, Source
from nearfar.errors import ConfigError, DataError
from nearfar.progress import track
from nearfar.whitening import Whitening

_WHITEN_FROM = 20_000
_KEYS = ".keys.csv"


@dataclass(frozen=True, eq=False)
class Embeddings:
    """`vectors` [N, D] float32, `keys` [N], and `labels` [N] by name (None where a sample has none), or None."""

    vectors: NDArray[np.float32]
    keys: list[str]
    labels: list[str | None] | None = None

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.keys) != len(self.vectors):
            raise DataError(f"{len(self.keys)} keys do not go with vectors of shape {list(self.vectors.shape)}.")
        if self.labels is not None and len(self.labels) != len(self.keys):
            raise DataError(f"{len(self.labels)} labels do not go with {len(self.keys)} keys.")

    def __len__(self) -> int:
        return len(self.keys)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `.parquet` (columns key, label, vector), or `.npy` with the keys and labels in `.keys.csv` beside it.

        Raises ConfigError for another ending, DataError when the file cannot be written.
        """
        path = Path(path)
        suffix = check_path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if suffix == ".parquet":
                self._save_parquet(path)
            else:
                self._save_npy(path)
        except OSError as error:
            raise DataError(f"{str(path)!r} cannot be written: {error.strerror or error}.") from None
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Embeddings":
        """Read what `save` wrote; raises DataError."""
        path = Path(path)
        if not path.is_file():
            raise DataError(f"There is no file of embeddings at {str(path)!r}; `nearfar embed` makes one.")
        try:
            return cls._load_parquet(path) if check_path(path) == ".parquet" else cls._load_npy(path)
        except (DataError, ConfigError):
            raise
        except (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, csv.Error) as error:
            raise DataError(f"{str(path)!r} cannot be read as embeddings: {str(error)[:200]}") from None

    def _save_parquet(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        flat = pa.array(np.ascontiguousarray(self.vectors, dtype=np.float32).reshape(-1))
        columns = {
            "key": pa.array(list(map(_printable, self.keys))),
            "label": pa.array(self._printable_labels(), pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(flat, self.vectors.shape[1]),
        }
        with _whole(path) as draft:
            pq.write_table(pa.table(columns), draft, row_group_size=16384)

    @classmethod
    def _load_parquet(cls, path: Path) -> "Embeddings":
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.ParquetFile(path).read()
        for name in ("key", "vector"):
            if name not in table.column_names:
                raise DataError(f"{str(path)!r} holds no embeddings: it has no column {name!r}.")
        column = table["vector"].combine_chunks()
        if isinstance(column.type, pa.FixedSizeListType):
            vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
        else:  # as other programs write it
            vectors = np.array(column.to_pylist())
        labels = table["label"].to_pylist() if "label" in table.column_names else [None]
        keys = table["key"].to_pylist()
        vectors = np.array(vectors, dtype=np.float32)  # one's own, to write to: arrow's memory is read-only
        return cls(vectors, keys, labels if any(label is not None for label in labels) else None)

    def _save_npy(self, path: Path) -> None:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["key", "label"])
        for key, label in zip(self.keys, self._printable_labels(), strict=True):
            writer.writerow([_printable(key), "" if label is None else label])
        with _whole(path) as draft, _whole(path.with_suffix(_KEYS)) as beside:
            with draft.open("wb") as handle:
                np.save(handle, np.ascontiguousarray(self.vectors, dtype=np.float32), allow_pickle=False)
            beside.write_text(text.getvalue(), encoding="utf-8", newline="")

    @classmethod
    def _load_npy(cls, path: Path) -> "Embeddings":
        vectors = np.load(path, allow_pickle=False).astype(np.float32, copy=False)
        beside = path.with_suffix(_KEYS)
        if not beside.is_file():
            return cls(vectors, [f"{path.name}#{row}" for row in range(len(vectors))])
        with beside.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.reader(handle))[1:]
        labels = [row[1] or None for row in rows]
        return cls(vectors, [row[0] for row in rows], labels if any(labels) else None)

    def _printable_labels(self) -> list[str | None]:
        labels = self.labels or [None] * len(self)
        return [None if label is None else _printable(label) for label in labels]


def check_path(path: Path) -> str:
    """The ending of a file of embeddings, `.parquet` or `.npy`; raises ConfigError for another."""
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".npy"):
        raise ConfigError(f"Embeddings are written as .parquet or .npy, got {path.name!r}.")
    return suffix


@torch.no_grad()
def embed_source(
    encoder: Encoder, source: Source, *, batch_size: int = 256, show: bool | None = None
) -> tuple[torch.Tensor, Rows]:
    """Vectors `[N, dim]` float32 of all readable samples of a loaded source, and the rows that they belong to.

    Runs in evaluation mode, in fp32, on the encoder's device; leaves the encoder's mode as it was.
    """
    device = next(encoder.parameters()).device
    was_training = encoder.training
    encoder.eval()
    vectors, rows = [torch.empty(0, encoder.dim)], [np.empty(0, dtype=np.int64)]
    try:
        for start in track(range(0, len(source), batch_size), "embed", show=show):
            raw, kept = source.fetch(np.arange(start, min(start + batch_size, len(source)), dtype=np.int64))
            if len(kept):
                vectors.append(encoder.vectors(encoder.prepare(raw.to(device)).to(device)).float().cpu())
                rows.append(kept)
    finally:
        encoder.train(was_training)
    return torch.cat(vectors), np.concatenate(rows)


def whiten(encoder: Encoder, source: Source) -> None:
    """Put a whitening, fitted to up to 20,000 samples of a loaded source, behind the encoder's features."""
    encoder.output = nn.Identity()
    step = max(1, len(source) // _WHITEN_FROM)
    features, _ = embed_source(encoder, source.take(np.arange(0, len(source), step, dtype=np.int64)), show=False)
    encoder.output = Whitening(encoder.dim).fit(features).to(next(encoder.parameters()).device)
    encoder.config["whitened"] = True


def label_names(source: Source, rows: Rows) -> list[str | None] | None:
    """The labels of some rows by name; None where no sample of the source has one."""
    labels = source.labels
    if labels is None:
        return None
    names: Sequence[str] = source.label_names
    return [names[label] if label >= 0 else None for label in labels[rows].tolist()]


def _printable(text: str) -> str:
    """A text that utf-8 can hold: a file name that is not text keeps its odd bytes as backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A draft to write to, which takes the place of `path` at the end, or is gone after an error."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
