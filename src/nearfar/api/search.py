"""Search an embedding for what is nearest to a sample or a vector."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.embeddings import Embeddings
from nearfar.errors import ConfigError, DataError, must

if TYPE_CHECKING:
    from nearfar.contract import Encoder


@dataclass(frozen=True)
class Hit:
    """A sample that was found: its key, its cosine similarity to the query in [-1, 1], and its label by name."""

    key: str
    similarity: float
    label: str | None = None


def search(
    embeddings: Embeddings | str | os.PathLike[str], query: Any, k: int = 10, *, encoder: "Encoder | None" = None
) -> list[Hit]:
    """The `k` samples nearest to `query` by cosine, nearest first; exact.

    `query` is a vector [D] of numbers, or a sample as the encoder takes it (a path ...), for which `encoder`
    is needed. Raises UserError.
    """
    import torch

    from nearfar.evaluation.knn import nearest

    must(k >= 1, "k must be at least 1", got=k)
    if isinstance(embeddings, str | os.PathLike):
        embeddings = Embeddings.load(embeddings)
    if not len(embeddings):
        raise DataError("There is nothing to search: the embedding is empty.")
    vector = _vector(query, encoder)
    if vector.shape != (embeddings.vectors.shape[1],):
        raise DataError(
            f"The query has shape {list(vector.shape)}, the embedding's vectors have {embeddings.vectors.shape[1]} "
            "dimensions: was it made by another encoder?"
        )
    if not np.isfinite(vector).all():
        raise DataError("The query's vector is not finite.")
    similar, rows = nearest(torch.from_numpy(embeddings.vectors), torch.from_numpy(vector)[None], k)
    labels = embeddings.labels or [None] * len(embeddings)
    return [
        Hit(embeddings.keys[row], round(similarity, 6), labels[row])
        for similarity, row in zip(similar[0].tolist(), rows[0].tolist(), strict=True)
    ]


def _vector(query: Any, encoder: "Encoder | None") -> NDArray[np.float32]:
    """The query as a vector: itself where it is one, else by the encoder."""
    given = query.detach().cpu().numpy() if hasattr(query, "detach") else query
    floats = isinstance(given, np.ndarray) and given.ndim == 1 and given.dtype.kind == "f"
    if encoder is not None and not floats and encoder.is_sample(given):
        return encoder.encode(given)
    if isinstance(given, str | os.PathLike):
        raise ConfigError("To search by a file, give the encoder that made the embedding: search(..., encoder=...).")
    try:
        return np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError):
        raise DataError(f"A query is a vector of numbers or a sample for the encoder, got {given!r:.100}.") from None
