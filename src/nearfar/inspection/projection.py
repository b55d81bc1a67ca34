"""Two dimensions to look at: which samples to show, and where they lie so that near ones stay near."""

from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nearfar.errors import MissingExtra, UnknownName, must
from nearfar.evaluation.knn import nearest, unit_rows

Floats = NDArray[np.float32]

WAYS = ("umap", "tsne", "pca")
MOST = {"umap": 20_000, "tsne": 5_000}
"""Rows that are laid out against each other; the others are placed among them."""
_UMAP_NEIGHBOURS = 15
_PLACED_BY = 5


def sample_evenly(n: int, limit: int, seed: int) -> NDArray[np.int64]:
    """Choose min(n, limit) of `n` samples, one at random from each of `limit` equal stretches.

    Returns sorted, distinct indices [min(n, limit)]; sorted data (class after class) is thus covered evenly.
    """
    must(limit >= 1, "limit must be >= 1", got=limit)
    if n <= limit:
        return np.arange(n, dtype=np.int64)
    edges = np.arange(limit + 1, dtype=np.int64) * n // limit
    return np.random.default_rng(seed).integers(edges[:-1], edges[1:])


def usual_way(by: str | None = None) -> str:
    """The way asked for, else UMAP where it is installed, else t-SNE; raises UnknownName and MissingExtra."""
    if by is None:
        return "umap" if find_spec("umap") is not None else "tsne"
    if by not in WAYS:
        raise UnknownName("projection", by, WAYS)
    if by == "umap" and find_spec("umap") is None:
        raise MissingExtra("A map by UMAP", "umap-learn", "map")
    return by


def project(vectors: ArrayLike, *, seed: int, by: str = "tsne") -> Floats:
    """Lay rows out in two dimensions so that near rows (by cosine) stay near.

    `vectors` [N, D] finite; returns [N, 2] float32 in [0, 1], the same for the same seed. Rows that are all equal share
    one point. `by` is one of `WAYS`: UMAP (McInnes, Healy and Melville, 2018) of the 15 exact nearest neighbours, t-SNE
    (van der Maaten and Hinton, 2008) on up to 50 principal components of the normalised rows, with perplexity
    min(30, (N - 1) / 3), or the first two principal components, which fewer than four rows get in any case. Beyond
    `MOST` rows a part is laid out, and each other row is placed at the median of its 5 nearest of them.
    """
    rows = unit_rows(torch.as_tensor(np.asarray(vectors, dtype=np.float32)))
    if len(rows) < 2 or np.ptp(rows.numpy(), axis=0).max(initial=0) < 1e-6:
        return np.full((len(rows), 2), 0.5, dtype=np.float32)
    chosen = sample_evenly(len(rows), MOST.get(by, len(rows)), seed)
    laid = _laid_out(rows[torch.from_numpy(chosen)], by, seed)
    if len(chosen) == len(rows):
        return _into_unit_square(laid)
    others = np.setdiff1d(np.arange(len(rows)), chosen, assume_unique=True)
    _, near = nearest(rows[torch.from_numpy(chosen)], rows[torch.from_numpy(others)], _PLACED_BY)
    xy = np.empty((len(rows), 2), dtype=np.float32)
    xy[chosen] = laid
    xy[others] = np.median(laid[near.numpy()], axis=1)
    return _into_unit_square(xy)


def _laid_out(rows: torch.Tensor, by: str, seed: int) -> Floats:
    """Positions of normalised rows, of which two differ at least."""
    from sklearn.decomposition import PCA

    small = seed % 2**32
    parts = PCA(min(2 if by == "pca" else 50, *rows.shape), random_state=small).fit_transform(rows.numpy())
    xy = np.zeros((len(rows), 2), dtype=np.float32)
    xy[:, : parts.shape[1]] = parts[:, :2]
    if by == "pca" or len(rows) < 4:
        return xy
    start = xy / xy.std(axis=0).max()
    # The jitter parts equal rows, which would otherwise move as one.
    start += 1e-2 * np.random.default_rng(seed).standard_normal(start.shape)
    laid = _by_umap(rows, start, small) if by == "umap" else _by_tsne(parts, start, small)
    return laid if np.isfinite(laid).all() else xy


def _by_tsne(parts: Floats, start: Floats, seed: int) -> Floats:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(parts) - 1) / 3)
    small = (1e-4 * start).astype(np.float32)  # as t-SNE wants it
    laid: Floats = TSNE(init=small, perplexity=perplexity, random_state=seed).fit_transform(parts)
    return laid


def _by_umap(rows: torch.Tensor, start: Floats, seed: int) -> Floats:
    """UMAP of exact neighbours, which spares its own search for them, and most of what it compiles."""
    import warnings

    from umap import UMAP

    similarities, near = nearest(rows, rows, min(_UMAP_NEIGHBOURS, len(rows)) - 1, exclude_self=True)
    own = np.arange(len(rows))[:, None]
    distances = np.clip(1 - similarities.numpy(), 0, None)
    known = np.hstack([own, near.numpy()]), np.hstack([np.zeros_like(own, dtype=np.float32), distances])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*knn_search_index", category=UserWarning)  # it is for new rows
        laid: Floats = UMAP(
            n_neighbors=known[0].shape[1],
            metric="cosine",
            init=(3 * start).astype(np.float32),
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(*known, None),
        ).fit_transform(rows.numpy())
    return laid


def _into_unit_square(xy: Floats) -> Floats:
    """Centre in [0, 1] x [0, 1] with one scale for both axes, so that distances keep their proportions."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    widest = max(float((high - low).max()), 1e-30)
    return np.asarray(np.clip((xy - (low + high) / 2) / widest + 0.5, 0, 1), dtype=np.float32)
