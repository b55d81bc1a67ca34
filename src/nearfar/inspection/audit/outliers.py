"""Foreign samples: those that lie far from their nearest others, alone or as a small group.

Foreign samples of one source are near to each other, and hide each other where only the nearest count. So two distances
are looked at: to the 20 nearest, and that within which a tenth of all samples lie.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.evaluation.knn import unit_rows
from nearfar.inspection.audit.neighbours import Neighbours
from nearfar.inspection.audit.ranking import Floats, Ranking, Rows, ranked
from nearfar.inspection.projection import sample_evenly

NEIGHBOURS = 20
FAR = 3.5
"""Robust standard deviations (Iglewicz and Hoaglin, "How to detect and handle outliers", 1993)."""
_LEAST = 20
"""Samples from which on a spread is known well enough to flag any."""
_TAIL = 0.1
"""Share of the samples, the farthest, among which a gap is looked for."""
_GAP = 6.0
"""Beyond what the largest of all spacings would be: by chance about one audit in four hundred has such a gap."""
_GROUP = 0.1
_COMPARED = 2_000
_PIECE = 4_096


def distances(near: Neighbours) -> Floats:
    """The mean of one minus the cosine to the 20 nearest others of each sample `[N]`; NaN where there is no other."""
    if not near.k:
        return np.full(len(near.same), np.nan)
    mean = 1 - near.similarities[:, :NEIGHBOURS].double().mean(dim=1)
    found: Floats = mean.clamp_min(0).cpu().numpy()[near.same]
    return found


def wide_distances(vectors: Tensor) -> Floats:
    """One minus the cosine within which a tenth of the samples lie, for each `[N]`; of many, by 2,000 of them."""
    rows = unit_rows(vectors)
    bank = rows[torch.from_numpy(sample_evenly(len(rows), _COMPARED, 0))]
    k = min(len(bank), 1 + max(1, round(_GROUP * len(bank))))  # itself is one
    parts = [(some @ bank.T).topk(k, dim=1).values[:, -1] for some in torch.split(rows, _PIECE)]
    found: Floats = (1 - torch.cat(parts).double()).clamp_min(0).cpu().numpy()
    return found


def scores(near: Neighbours, vectors: Tensor, labels: Rows | None = None) -> Floats:
    """How far each sample lies `[N]`: robust standard deviations of the logarithm of one or the other distance.

    The larger one counts, but where at least half of the nearest share the label of a sample (`labels` [N], -1 for
    none), it is of a class that lies apart, and only the distance to the nearest does.
    """
    alone = _deviations(distances(near))
    if len(vectors) < _LEAST:
        return alone
    group = _deviations(wide_distances(vectors))
    if labels is not None and near.k:
        others = labels[near.first][near.rows[:, :NEIGHBOURS].numpy()][near.same]
        shared = ((others == labels[:, None]) & (labels >= 0)[:, None]).mean(axis=1)
        group = np.where(shared >= 0.5, -np.inf, group)
    return np.maximum(alone, group)


def outliers(near: Neighbours, vectors: Tensor, labels: Rows | None = None) -> Ranking:
    """Samples by how far they are from others, see `scores`."""
    found = scores(near, vectors, labels)
    rows: Rows = np.arange(len(found))
    return ranked(
        "outliers",
        "Foreign samples",
        rows,
        found,
        ((found > FAR) & (len(found) >= _LEAST)) | beyond_gap(found),
        f"Flagged where the mean distance to the {NEIGHBOURS} nearest others, or of a sample whose nearest have other "
        f"labels or none the distance within which a tenth of all lie, is more than {FAR} robust standard deviations "
        "above the median (on a logarithmic scale): of normally spread samples about one in four thousand would; and "
        "with all that lie beyond a gap that is far too wide for chance, among the farthest tenth. The score is that "
        "number of deviations.",
    )


def beyond_gap(found: Floats) -> NDArray[np.bool_]:
    """Which scores `[N]` lie beyond a gap among the highest tenth that chance does not make.

    In a tail that falls like an exponential or faster the spacing below the j-th highest score, times j, is
    exponentially distributed (Rényi, "On the theory of order statistics", 1953); its scale is told by the median.
    """
    finite = np.flatnonzero(np.isfinite(found))
    count = int(_TAIL * len(finite))
    if count < _LEAST:
        return np.zeros(len(found), dtype=bool)
    highest = np.sort(found[finite])[::-1][: count + 1]
    spacings = np.arange(1, count + 1) * -np.diff(highest)
    scale = np.median(spacings) / np.log(2)
    widest = int(spacings.argmax())
    if spacings[widest] <= scale * (np.log(count) + _GAP):
        return np.zeros(len(found), dtype=bool)
    beyond: NDArray[np.bool_] = np.where(np.isfinite(found), found, -np.inf) >= highest[widest]
    return beyond


def _deviations(found: Floats) -> Floats:
    logs = np.log(np.maximum(found, 1e-9))
    middle = np.median(logs)
    spread = 1.4826 * np.median(np.abs(logs - middle))
    answer: Floats = (logs - middle) / max(spread, 1e-3)
    return answer
