"""Hidden clusters: classes, or a whole unlabelled set, that fall apart into two groups."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nearfar.evaluation.knn import unit_rows
from nearfar.inspection.audit.ranking import Floats, Note, Rows

_LEAST, _MOST = 40, 2_000
_SMALLER = 0.1
_CLOUDS = 8
_DIMENSIONS = 10


def hidden_clusters(vectors: Tensor, labels: Rows | None, names: Sequence[str], seed: int = 0) -> list[Note]:
    """Classes whose samples form two clusters, each of a tenth at least; of unlabelled data, the whole.

    Two clusters are told where k-means parts the samples more clearly (by the silhouette, Rousseeuw 1987) than it parts
    any of eight samples of one normal cloud of the same shape.
    """
    whole = labels is None or not (labels >= 0).any()
    members = {"all samples": np.arange(len(vectors))} if whole else {}
    if labels is not None and not whole:
        members = {f"class {names[c]}": np.flatnonzero(labels == c) for c in np.unique(labels[labels >= 0]).tolist()}
    rng = np.random.default_rng(seed)
    found = []
    for about, rows in members.items():
        if len(rows) < _LEAST:
            continue
        some = rows if len(rows) <= _MOST else np.sort(rng.choice(rows, _MOST, replace=False))
        x = _principal(vectors[torch.from_numpy(some)])
        parted, sides = _parted(x, seed)
        smaller = int(min((sides == 0).sum(), (sides == 1).sum()))
        if smaller < _SMALLER * len(some):
            continue
        clouds = [_parted(rng.standard_normal(x.shape) * x.std(axis=0), seed)[0] for _ in range(_CLOUDS)]
        if parted > max(clouds):
            centres = [x[sides == side].mean(axis=0) for side in (0, 1)]
            typical = [
                int(some[np.flatnonzero(sides == side)[np.argmin(((x[sides == side] - centre) ** 2).sum(axis=1))]])
                for side, centre in enumerate(centres)
            ]
            said = f"two clusters, of {len(some) - smaller} and {smaller} samples (silhouette {parted:.2f}, of one "
            found.append(Note(about, f"{said}cloud at most {max(clouds):.2f})", parted - max(clouds), typical))
    return sorted(found, key=lambda one: -one.score)


def _principal(vectors: Tensor) -> Floats:
    """The first principal components of the normalised rows."""
    x = unit_rows(vectors).double()
    x = x - x.mean(dim=0)
    _, scales, directions = torch.linalg.svd(x, full_matrices=False)
    kept = min(_DIMENSIONS, int((scales > 1e-6 * scales[0].clamp_min(1e-12)).sum()))
    found: Floats = (x @ directions[: max(kept, 1)].T).numpy()
    return found


def _parted(x: Floats, seed: int) -> tuple[float, Rows]:
    """The silhouette of two clusters, and the side of each sample."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    sides: Rows = KMeans(2, n_init=4, random_state=seed % 2**32).fit_predict(x)
    if len(np.unique(sides)) < 2:
        return -1.0, sides
    return float(silhouette_score(x, sides)), sides
