"""Copies and near-copies: pairs that are nearer to each other than chance puts any, by the encoder or by the input.

An encoder finds copies that were changed as its views are, and takes what means the same for a copy; the input itself
finds copies whose meaning has changed: a word more or less. Each measure says how many others chance would put as near;
the more certain one counts.
"""

from collections.abc import Iterator, Sequence

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


def pair_scores(measures: Sequence[Neighbours]) -> Floats:
    """How far below chance each sample's nearest other is `[N]`: minus the decimal logarithm of the expected number.

    The expected number is that of others that chance would put as near, see `evaluation.copies`, by the measure that
    puts it lowest. Samples with an equal one have the highest score.
    """
    found = np.full(len(measures[0].same), -_SURE)
    for near in measures:
        found = np.maximum(found, np.where(np.bincount(near.same) > 1, _SURE, -_SURE)[near.same])
        if (similarities := _nearest(near)) is not None:
            found = np.maximum(found, _scores(similarities)[:, 0][near.same])
    return found


def duplicates(
    measures: Sequence[Neighbours], ids: NDArray[np.int64], parts: NDArray[np.int64], classes: int = 1
) -> tuple[Ranking, Ranking]:
    """Pairs within one part of the data, and pairs across parts; of equal ids `[N]`, the content is the same.

    `measures` are the nearest others by the encoder, and by the input. A pair is flagged where each of the two finds
    the other nearer than chance would put one sample in a hundred, which is told by at most half of a class: with fewer
    than 16 samples a class, only what is equal is flagged. Groups of copies come as pairs with their first sample.
    """
    pairs: dict[tuple[int, int], float] = {}
    for equal in (measures[0].same, np.unique(ids, return_inverse=True)[1]):
        order = np.argsort(equal, kind="stable")
        head = np.searchsorted(equal[order], equal)  # the first sample of each one's group
        for row, other in enumerate(order[head].tolist()):
            if row != other:
                pairs[min(row, other), max(row, other)] = _SURE
    flagged = dict.fromkeys(pairs, True)
    for near in measures:
        for pair, own, sure in _near_pairs(near, classes):
            pairs[pair] = max(pairs.get(pair, -_SURE), own)
            flagged[pair] = flagged.get(pair, False) or sure
    one, other = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    score = np.array([pairs[pair] for pair in pairs])
    marked = np.array([flagged[pair] for pair in pairs], dtype=bool)
    across = parts[one] != parts[other]
    return _ranking("duplicates", "Copies and near-copies", ~across, one, other, score, marked), _ranking(
        "leaks", "Copies on both sides of a split", across, one, other, score, marked
    )


def _near_pairs(near: Neighbours, classes: int) -> Iterator[tuple[tuple[int, int], float, bool]]:
    """Pairs of which each has the other among its nearest, with their scores, and whether that is beyond chance."""
    similarities = _nearest(near)
    if similarities is None:
        return
    told = min(_NEIGHBOURS, len(near.first) // (2 * max(classes, 1)))
    scores, rows = _scores(similarities), near.rows.numpy()
    sure = np.zeros(scores.shape, dtype=bool)
    if told >= _LEAST:
        sure[:, :told] = beyond_chance(similarities[:, :told]).numpy()
    looked_at = scores > 0
    looked_at[:, 0] = True  # each sample's nearest is ranked, however far
    for i, m in zip(*np.nonzero(looked_at), strict=True):
        j = int(rows[i, m])
        back = np.flatnonzero(rows[j, : scores.shape[1]] == i)
        if i < j and len(back):
            pair = int(near.first[i]), int(near.first[j])
            score = float(min(scores[i, m], scores[j, back[0]]))
            yield (min(pair), max(pair)), score, bool(sure[i, m] and sure[j, back[0]])


def _ranking(
    name: str, title: str, chosen: NDArray[np.bool_], one: Rows, other: Rows, score: Floats, marked: NDArray[np.bool_]
) -> Ranking:
    threshold = (
        f"Flagged where each of the two finds the other nearer than chance would put {CHANCE:g} samples, by the "
        "encoder or by the input itself; the score is minus the decimal logarithm of that number, and 15 where the "
        "content is equal."
    )
    return ranked(name, title, one[chosen], score[chosen], marked[chosen], threshold, others=other[chosen], most=_SHOWN)


def _nearest(near: Neighbours) -> Tensor | None:
    """Similarities `[U, k]` to the nearest others; None where there are too few to tell chance by."""
    k = min(_NEIGHBOURS, near.k, len(near.first) // 2)
    return near.similarities[:, :k] if k >= _LEAST else None


def _scores(similarities: Tensor) -> Floats:
    expected = expected_nearer(similarities).clamp(10**-_SURE, 10**_SURE)
    found: Floats = (-torch.log10(expected)).cpu().numpy()
    return found
