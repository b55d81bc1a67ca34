"""Search an embedding for what is nearest to a sample or a vector."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearfar.errors import ConfigError, DataError, must
from nearfar.evaluation.embeddings import Embeddings

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

    `query` is a vector [D], or a sample as the encoder takes it (a path, an array ...), for which `encoder` is needed.
    Raises UserError.
    """
    import numpy as np
    import torch

    from nearfar.evaluation.knn import nearest

    must(k >= 1, "k must be at least 1", got=k)
    if isinstance(embeddings, str | os.PathLike):
        embeddings = Embeddings.load(embeddings)
    if not len(embeddings):
        raise DataError("There is nothing to search: the embedding is empty.")
    if encoder is not None and encoder.is_sample(query):
        vector = encoder.encode(query)
    elif isinstance(query, str | os.PathLike):
        raise ConfigError("To search by a file, give the encoder that made the embedding: search(..., encoder=...).")
    else:
        vector = np.asarray(query, dtype=np.float32)
    if vector.shape != (embeddings.vectors.shape[1],):
        raise DataError(
            f"The query has shape {list(vector.shape)}, the embedding's vectors have {embeddings.vectors.shape[1]} "
            "dimensions: was it made by another encoder?"
        )
    similar, rows = nearest(torch.from_numpy(embeddings.vectors), torch.from_numpy(vector)[None], k)
    labels = embeddings.labels or [None] * len(embeddings)
    return [
        Hit(embeddings.keys[row], round(similarity, 6), labels[row])
        for similarity, row in zip(similar[0].tolist(), rows[0].tolist(), strict=True)
    ]
