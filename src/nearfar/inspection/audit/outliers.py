"""Foreign samples: those that lie far from their nearest others."""

import numpy as np

from nearfar.inspection.audit.neighbours import Neighbours
from nearfar.inspection.audit.ranking import Floats, Ranking, Rows, ranked

NEIGHBOURS = 20
FAR = 3.5
"""Robust standard deviations (Iglewicz and Hoaglin, "How to detect and handle outliers", 1993)."""
_LEAST = 20
"""Samples from which on a spread is known well enough to flag any."""


def distances(near: Neighbours) -> Floats:
    """The mean of one minus the cosine to the 20 nearest others of each sample `[N]`; NaN where there is no other."""
    if not near.k:
        return np.full(len(near.same), np.nan)
    mean = 1 - near.similarities[:, :NEIGHBOURS].double().mean(dim=1)
    found: Floats = mean.clamp_min(0).cpu().numpy()[near.same]
    return found


def outliers(near: Neighbours) -> Ranking:
    """Samples by how far they are from their nearest others, in robust standard deviations of the logarithm."""
    logs = np.log(np.maximum(distances(near), 1e-9))
    middle = np.median(logs)
    spread = 1.4826 * np.median(np.abs(logs - middle))
    scores = (logs - middle) / max(spread, 1e-3)
    rows: Rows = np.arange(len(scores))
    return ranked(
        "outliers",
        "Foreign samples",
        rows,
        scores,
        (scores > FAR) & (len(scores) >= _LEAST),
        f"Flagged where the mean distance to the {NEIGHBOURS} nearest others lies more than {FAR} robust standard "
        "deviations above the median (on a logarithmic scale): of normally spread samples about one in four thousand "
        "would. The score is that number of deviations.",
    )
