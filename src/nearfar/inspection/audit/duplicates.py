"""Copies and near-copies: pairs that are nearer to each other than chance puts any, by the encoder's own measure."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.evaluation.copies import CHANCE, beyond_chance, expected_nearer
from nearfar.inspection.audit.neighbours import Neighbours
from nearfar.inspection.audit.ranking import Floats, Ranking, Rows, ranked

_SURE = 15.0
"""The score of equal content, and the highest of any."""
_SHOWN = 50
_LEAST, _NEIGHBOURS = 8, 16


def pair_scores(near: Neighbours, classes: int = 1) -> Floats:
    """How far below chance each sample's nearest other is `[N]`: minus the decimal logarithm of the expected number.

    The expected number is that of others that chance would put as near, see `evaluation.copies`: it is told by at most
    half of a class, so that with fewer than 16 samples a class only equal vectors count.
    """
    sizes = np.bincount(near.same)
    similarities = _among(near, classes)
    if similarities is None:
        return np.where(sizes > 1, _SURE, 0.0)[near.same]
    own = _scores(similarities)[:, 0]
    return np.where(sizes > 1, _SURE, own)[near.same]


def duplicates(
    near: Neighbours, ids: NDArray[np.int64], parts: NDArray[np.int64], classes: int = 1
) -> tuple[Ranking, Ranking]:
    """Pairs within one part of the data, and pairs across parts; of equal ids `[N]`, the content is the same.

    A pair is flagged where each of the two finds the other nearer than chance would put one sample in a hundred; groups
    of copies come as pairs with their first sample.
    """
    pairs: dict[tuple[int, int], float] = {}
    for equal in (near.same, np.unique(ids, return_inverse=True)[1]):
        order = np.argsort(equal, kind="stable")
        head = np.searchsorted(equal[order], equal)  # the first sample of each one's group
        for row, other in enumerate(order[head].tolist()):
            if row != other:
                pairs[min(row, other), max(row, other)] = _SURE
    flagged = dict.fromkeys(pairs, True)
    similarities = _among(near, classes)
    if similarities is not None:
        scores, sure, rows = _scores(similarities), beyond_chance(similarities).numpy(), near.rows.numpy()
        looked_at = scores > 0
        looked_at[:, 0] = True  # each sample's nearest is ranked, however far
        for i, m in zip(*np.nonzero(looked_at), strict=True):
            j = int(rows[i, m])
            back = np.flatnonzero(rows[j, : scores.shape[1]] == i)
            if i < j and len(back):
                pair = int(near.first[i]), int(near.first[j])
                pairs.setdefault((min(pair), max(pair)), float(min(scores[i, m], scores[j, back[0]])))
                flagged.setdefault((min(pair), max(pair)), bool(sure[i, m] and sure[j, back[0]]))
    one, other = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    score = np.array([pairs[pair] for pair in pairs])
    marked = np.array([flagged[pair] for pair in pairs], dtype=bool)
    across = parts[one] != parts[other]
    return _ranking("duplicates", "Copies and near-copies", ~across, one, other, score, marked), _ranking(
        "leaks", "Copies on both sides of a split", across, one, other, score, marked
    )


def _ranking(
    name: str, title: str, chosen: NDArray[np.bool_], one: Rows, other: Rows, score: Floats, marked: NDArray[np.bool_]
) -> Ranking:
    threshold = (
        f"Flagged where each of the two finds the other nearer than chance would put {CHANCE:g} samples; the score is "
        "minus the decimal logarithm of that number, and 15 where the content is equal."
    )
    return ranked(name, title, one[chosen], score[chosen], marked[chosen], threshold, others=other[chosen], most=_SHOWN)


def _among(near: Neighbours, classes: int) -> Tensor | None:
    """Similarities `[U, k]` to neighbours that may be of one class; None where there are too few to tell chance by."""
    k = min(_NEIGHBOURS, near.k, len(near.first) // (2 * max(classes, 1)))
    return near.similarities[:, :k] if k >= _LEAST else None


def _scores(similarities: Tensor) -> Floats:
    expected = expected_nearer(similarities).clamp(10**-_SURE, 10**_SURE)
    found: Floats = (-torch.log10(expected)).cpu().numpy()
    return found
