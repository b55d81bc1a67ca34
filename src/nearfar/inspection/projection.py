"""Two dimensions to look at: which samples to show, and where they lie so that near ones stay near (t-SNE)."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nearfar.errors import must
from nearfar.evaluation.knn import unit_rows

Floats = NDArray[np.float32]


def sample_evenly(n: int, limit: int, seed: int) -> NDArray[np.int64]:
    """Choose min(n, limit) of `n` samples, one at random from each of `limit` equal stretches.

    Returns sorted, distinct indices [min(n, limit)]; sorted data (class after class) is thus covered evenly.
    """
    must(limit >= 1, "limit must be >= 1", got=limit)
    if n <= limit:
        return np.arange(n, dtype=np.int64)
    edges = np.arange(limit + 1, dtype=np.int64) * n // limit
    return np.random.default_rng(seed).integers(edges[:-1], edges[1:])


def project(vectors: ArrayLike, *, seed: int) -> Floats:
    """Lay rows out in two dimensions so that near rows (by cosine) stay near.

    `vectors` [N, D] finite; returns [N, 2] float32 in [0, 1], the same for the same seed. Rows that are all equal share
    one point. t-SNE (van der Maaten and Hinton, 2008) on up to 50 principal components of the normalised rows, with
    perplexity min(30, (N - 1) / 3); fewer than four rows keep their principal components.
    """
    rows = unit_rows(torch.as_tensor(np.asarray(vectors, dtype=np.float32))).numpy()
    if len(rows) < 2 or np.ptp(rows, axis=0).max(initial=0) < 1e-6:
        return np.full((len(rows), 2), 0.5, dtype=np.float32)

    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    parts = PCA(min(50, *rows.shape), random_state=seed % 2**32).fit_transform(rows)
    xy = np.zeros((len(rows), 2), dtype=np.float32)
    xy[:, : parts.shape[1]] = parts[:, :2]
    if len(rows) < 4:
        return _into_unit_square(xy)
    # A small start, as t-SNE wants it; the jitter parts equal rows, which would otherwise move as one.
    start = 1e-4 * xy / xy.std(axis=0).max()
    start += 1e-6 * np.random.default_rng(seed).standard_normal(start.shape)
    perplexity = min(30.0, (len(rows) - 1) / 3)
    laid = TSNE(init=start.astype(np.float32), perplexity=perplexity, random_state=seed % 2**32).fit_transform(parts)
    return _into_unit_square(laid if np.isfinite(laid).all() else xy)


def _into_unit_square(xy: Floats) -> Floats:
    """Centre in [0, 1] x [0, 1] with one scale for both axes, so that distances keep their proportions."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    widest = max(float((high - low).max()), 1e-30)
    return np.asarray(np.clip((xy - (low + high) / 2) / widest + 0.5, 0, 1), dtype=np.float32)
