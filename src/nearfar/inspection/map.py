"""A map of an embedding: which samples to show, where they lie in the plane, and who is near whom."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfar.errors import DataError, must

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


def unit_rows(vectors: ArrayLike) -> Floats:
    """Return the rows scaled to length one; a zero row stays zero.

    `vectors` [N, D]; returns [N, D] float32. Raises DataError when it is not a matrix of finite numbers.
    """
    rows = np.asarray(vectors, dtype=np.float32)
    if rows.ndim != 2:
        raise DataError(f"Vectors must be a matrix [N, D], got an array of shape {rows.shape}.")
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise DataError(f"Row {int(np.argmin(finite))} of the vectors is not finite; leave it out before making a map.")
    # Scaled by the largest entry first, so that squares neither overflow nor vanish.
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    scaled = rows / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.asarray(scaled / np.where(length > 0, length, 1), dtype=np.float32)


def sample_evenly(n: int, limit: int, seed: int) -> Indices:
    """Choose min(n, limit) of `n` samples, one at random from each of `limit` equal stretches.

    Returns sorted, distinct indices [min(n, limit)]; sorted data (class after class) is thus covered evenly.
    """
    must(limit >= 1, "limit must be >= 1", got=limit)
    if n <= limit:
        return np.arange(n, dtype=np.int64)
    edges = np.arange(limit + 1, dtype=np.int64) * n // limit
    return np.random.default_rng(seed).integers(edges[:-1], edges[1:])


def neighbours(vectors: ArrayLike, k: int) -> tuple[Indices, Floats]:
    """Find each row's k nearest other rows by cosine, exactly; meant for the few thousand samples of a map.

    `vectors` [N, D]; returns (indices [N, k'], cosines [N, k']), nearest first, k' = min(k, N - 1).
    """
    rows = unit_rows(vectors)
    k = max(min(k, len(rows) - 1), 0)
    cosines = np.clip(rows @ rows.T, -1, 1)
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order.astype(np.int64), np.take_along_axis(cosines, order, axis=1)


def project(vectors: ArrayLike, *, seed: int) -> Floats:
    """Lay the rows out in the plane so that near rows (by cosine) stay near.

    `vectors` [N, D] finite; returns [N, 2] float32 in [0, 1], the same for the same seed. Rows that are all equal share
    one point. t-SNE (van der Maaten and Hinton, 2008) on up to 50 principal components of the normalised rows, with
    perplexity min(30, (N - 1) / 3); fewer than four rows keep their principal components.
    """
    rows = unit_rows(vectors)
    if len(rows) < 2 or np.ptp(rows, axis=0).max(initial=0) < 1e-6:
        return np.full((len(rows), 2), 0.5, dtype=np.float32)

    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    parts = PCA(min(50, *rows.shape), random_state=seed % 2**32).fit_transform(rows)
    plane = np.zeros((len(rows), 2), dtype=np.float32)
    plane[:, : parts.shape[1]] = parts[:, :2]
    if len(rows) < 4:
        return _into_unit_square(plane)
    # A small start, as t-SNE wants it; the jitter parts equal rows, which would otherwise move as one.
    start = 1e-4 * plane / plane.std(axis=0).max()
    start += 1e-6 * np.random.default_rng(seed).standard_normal(start.shape)
    perplexity = min(30.0, (len(rows) - 1) / 3)
    laid = TSNE(init=start.astype(np.float32), perplexity=perplexity, random_state=seed % 2**32).fit_transform(parts)
    return _into_unit_square(laid if np.isfinite(laid).all() else plane)


def _into_unit_square(plane: Floats) -> Floats:
    """Centre in [0, 1] x [0, 1] with one scale for both axes, so that distances keep their proportions."""
    low, high = plane.min(axis=0), plane.max(axis=0)
    widest = max(float((high - low).max()), 1e-30)
    return np.asarray(np.clip((plane - (low + high) / 2) / widest + 0.5, 0, 1), dtype=np.float32)
