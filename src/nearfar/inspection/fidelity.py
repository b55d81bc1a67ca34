"""How far a map in two dimensions can be trusted: which neighbours it keeps, and which it makes up."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.evaluation.knn import nearest, unit_rows
from nearfar.inspection.projection import sample_evenly

NEIGHBOURS = 10
_LOOKED_AT = 2_000


@dataclass(frozen=True)
class Fidelity:
    """What a map keeps of neighbourhoods of `k`, judged by `samples` of all."""

    k: int
    samples: int
    kept: float
    """Share of the k nearest by the vectors, of all samples, that are among the k nearest on the map."""
    by_chance: float
    """What a map drawn at random would keep."""
    trustworthiness: float
    """Venna and Kaski (2001), within the samples looked at: 1 where no two are near on the map alone."""

    def __str__(self) -> str:
        return (
            f"Of the {self.k} nearest of a sample by the vectors, {100 * self.kept:.0f} % are among its {self.k} "
            f"nearest here (by chance {100 * self.by_chance:.2g} %); trustworthiness {self.trustworthiness:.3f} "
            f"at k = {self.k}, where 1 is best. Judged by {self.samples:,} samples."
        )


def fidelity(
    vectors: NDArray[np.float32], xy: NDArray[np.float32], *, seed: int = 0, k: int = NEIGHBOURS
) -> Fidelity | None:
    """How much of the neighbourhoods of `vectors` [N, D] a map `xy` [N, 2] keeps; None for too few to tell."""
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import NearestNeighbors

    if len(vectors) <= 2 * k:
        return None
    rows = unit_rows(torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32)))
    some = sample_evenly(len(rows), _LOOKED_AT, seed)
    _, near = nearest(rows, rows[torch.from_numpy(some)], k + 1)
    _, drawn = NearestNeighbors(n_neighbors=k + 1).fit(xy).kneighbors(xy[some])
    kept = np.empty(len(some))
    for i, (true, shown, own) in enumerate(zip(near.tolist(), drawn.tolist(), some.tolist(), strict=True)):
        kept[i] = len(set(_others(true, own)) & set(_others(shown, own))) / k
    trust = float(trustworthiness(rows[torch.from_numpy(some)].numpy(), xy[some], n_neighbors=k, metric="cosine"))
    return Fidelity(k, len(some), float(kept.mean()), k / (len(rows) - 1), trust)


def _others(found: list[int], own: int) -> list[int]:
    """Neighbours without the sample itself; of many equal ones it may not be among them."""
    rest = [one for one in found if one != own]
    return rest[: len(found) - 1]
