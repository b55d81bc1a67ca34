"""Clusters of a map: what stands together on it, apart from the rest."""

import numpy as np
from numpy.typing import NDArray

_MOST = 20_000
_LEAST, _SHARE = 5, 0.01


def clusters_of(xy: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.int64]:
    """The cluster of each point [N], from 0 for the largest; -1 for points between clusters.

    HDBSCAN (Campello, Moulavi and Sander, 2013) on the positions, clusters of a hundredth of all or more; of many
    points a part is clustered, and each other one has the cluster of the nearest of these.
    """
    from sklearn.cluster import HDBSCAN
    from sklearn.neighbors import KNeighborsClassifier

    from nearfar.inspection.projection import sample_evenly

    if len(xy) < 2 * _LEAST or np.ptp(xy, axis=0).max() == 0:
        return np.zeros(len(xy), dtype=np.int64)
    some = sample_evenly(len(xy), _MOST, seed)
    least = max(_LEAST, int(_SHARE * len(some)))
    found = HDBSCAN(min_cluster_size=least, copy=True).fit_predict(xy[some].astype(np.float64))
    if len(some) < len(xy):
        found = KNeighborsClassifier(n_neighbors=1).fit(xy[some], found).predict(xy)
    names, counts = np.unique(found[found >= 0], return_counts=True)
    renamed = np.full(len(names) + 1, -1, dtype=np.int64)
    renamed[names[np.argsort(-counts, kind="stable")]] = np.arange(len(names))
    answer: NDArray[np.int64] = renamed[found]  # the last entry is that of -1
    return answer
