"""An index over embeddings: the nearest rows to queries, of all or of those that meet a condition."""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.data.embeddings import Embeddings, read_from
from nearfar.data.filters import matching
from nearfar.errors import DataError
from nearfar.evaluation.knn import nearest_unit, unit_rows
from nearfar.files import cannot_write
from nearfar.inspection.search import twin

if TYPE_CHECKING:
    import pyarrow as pa

    from nearfar.inspection.search.approximate import Approximate

Kind = Literal["auto", "exact", "hnsw", "ivfpq"]
"""How an index is searched; `auto` is exact up to a million vectors, beyond by HNSW."""
_LARGE = 2**24
"""Numbers in a file from which it is mapped into memory, not read."""
_EXACT = 1_000_000
"""Vectors up to which `auto` is exact: a query takes some hundredths of a second."""
_PIECE = 2**16
_log = logging.getLogger("nearfar")


@dataclass(frozen=True, eq=False)
class Index:
    """`vectors` [N, D] of length one, and the columns `rows` [N] beside them: key, label, further ones.

    `origin` is the data that was embedded and `maker` the fingerprint of the encoder, where they are known;
    `approximate` finds candidates where it is not exact.
    """

    vectors: Tensor
    rows: "pa.Table"
    origin: str | None = None
    approximate: "Approximate | None" = None
    maker: str | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def row_of(self, key: str) -> int | None:
        """The row of a key, the first where it is there twice; None where it is not there."""
        import pyarrow.compute as pc

        row: int = pc.index(self.rows["key"], key).as_py()
        return None if row < 0 else row

    def where(self, condition: str) -> NDArray[np.int64]:
        """The rows that meet a condition, in order; raises ConfigError."""
        return np.flatnonzero(matching(self.rows, condition)).astype(np.int64)

    def described(self, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        """The columns of some rows, by name."""
        found: list[dict[str, Any]] = self.rows.take(rows).to_pylist()
        return found

    def nearest(self, queries: Tensor, k: int, among: NDArray[np.int64] | None = None) -> tuple[Tensor, Tensor]:
        """The k rows most similar to each query [Q, D]: cosines and rows [Q, k'], best first.

        With `among` [M] only these rows are found, always exactly; k' is k, at most as many as there are. Raises
        DataError where the index is empty or the queries are of another width.
        """
        if not len(self):
            raise DataError("There is nothing to search: the embedding is empty.")
        if queries.shape[1] != self.vectors.shape[1]:
            raise DataError(
                f"The query has shape [{queries.shape[1]}], the embedding's vectors have {self.vectors.shape[1]} "
                "dimensions: was it made by another encoder?"
            )
        queries = unit_rows(queries)
        if among is not None:
            return self._among(queries, k, torch.from_numpy(among))
        if self.approximate is not None:
            return self.approximate.nearest(self.vectors, queries, k)
        return nearest_unit(self.vectors, queries, k)

    def _among(self, queries: Tensor, k: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        found = queries.new_empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.long)
        for piece in torch.split(rows, _PIECE):
            if not len(piece):
                break
            similar, at = nearest_unit(self.vectors[piece], queries, k)
            both = torch.cat([found[0], similar], dim=1), torch.cat([found[1], piece[at]], dim=1)
            values, place = both[0].topk(min(k, both[0].shape[1]), dim=1)
            found = values, both[1].gather(1, place)
        return found


def index_of(embeddings: Embeddings) -> Index:
    """An index over embeddings in memory, searched exactly."""
    vectors = unit_rows(torch.from_numpy(embeddings.vectors))
    return Index(vectors, twin.rows_of(embeddings), embeddings.origin, maker=embeddings.maker)


def open_index(path: str | os.PathLike[str], kind: Kind = "auto") -> Index:
    """An index over a file of embeddings, or over its shards, which is kept beside it where it is large.

    Where nothing can be written there, it is held in memory. Raises DataError, and MissingExtra for a kind that FAISS
    makes, where that is not installed.
    """
    file = Path(path)
    exact = kind in ("auto", "exact")
    current = file.is_file() and twin.is_current(file)
    if not file.is_file() or (exact and not current and file.stat().st_size < 4 * _LARGE):
        return index_of(Embeddings.load(file))
    if not current:
        try:
            twin.make(file)
        except OSError as error:
            if not exact:
                raise cannot_write(twin.folder_of(file), error) from None
            _log.info("%s is read into memory: beside it %s", file, error.strerror)
            return index_of(Embeddings.load(file))
    vectors, rows = twin.load(file)
    origin, maker = read_from(rows.schema.metadata)
    found = Index(vectors, rows, origin, maker=maker)
    if kind == "exact" or (kind == "auto" and len(found) <= _EXACT):
        return found
    from nearfar.inspection.search import approximate

    if kind == "auto" and not approximate.installed():
        _log.info("%s has %d vectors: pip install 'nearfar[search]' searches them faster", file.name, len(found))
        return found
    return replace(found, approximate=approximate.opened(file, vectors, "hnsw" if kind == "auto" else kind))
