"""Mean average precision of boxes, as COCO counts it (Lin et al., 2014), for any weights of the samples.

Of each class, boxes in the order of their scores are matched one by one with the true box that they overlap most, which
none before has taken, at each of ten thresholds of IoU from 0.5 to 0.95; precision is made monotone, and averaged over
101 values of recall. Up to 100 boxes a sample and class count. Matching is a sample's own matter: how often a sample
counts only weighs what it adds, so that intervals over samples need no matching again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
_RECALLS = 101
_MOST = 100  # boxes of a class in a sample

Corners = NDArray[np.float64]
"""[n, 4]: left, top, right and bottom."""


@dataclass(frozen=True)
class Matched:
    """The n boxes of one class over M samples, best first: which sample each is of, and whether it is right.

    `right` and `counted` bool [T, n], for each threshold; one that matches a crowd does not count. `there` [M] are the
    true boxes of each sample.
    """

    sample: Tensor
    right: Tensor
    counted: Tensor
    there: Tensor

    def precision(self, weights: Tensor, thresholds: slice = slice(None)) -> Tensor:
        """Average precision `[B, T]` with samples that count `weights` [B, M] times; NaN where nothing is there."""
        weights = weights.double()
        total = weights @ self.there.double()  # [B]
        if not len(self.sample):
            nothing = torch.zeros(len(weights), len(THRESHOLDS[thresholds]), dtype=torch.float64)
            return nothing.masked_fill(total[:, None] == 0, torch.nan)
        own = weights[:, self.sample]  # [B n]
        wanted = torch.from_numpy(np.linspace(0, 1, _RECALLS))
        found = []
        for right, counted in zip(self.right[thresholds], self.counted[thresholds], strict=True):
            hits = (own * right).cumsum(1)
            tried = (own * counted).cumsum(1)
            recall = hits / total[:, None]
            precision = (hits / tried.clamp_min(1e-12)).flip(1).cummax(1).values.flip(1)
            at = torch.searchsorted(recall.contiguous(), wanted.expand(len(own), -1).contiguous())
            reached = at < recall.shape[1]
            values = precision.gather(1, at.clamp_max(recall.shape[1] - 1))
            found.append((values * reached).sum(1) / _RECALLS)
        return torch.stack(found, 1).masked_fill(total[:, None] == 0, torch.nan)


def matched(
    given: Sequence[tuple[Corners, NDArray[np.float64]]], true: Sequence[tuple[Corners, NDArray[np.bool_]]]
) -> Matched:
    """Match the boxes of one class: of each of M samples those `given`, with scores, with the `true` ones.

    Of a true box it is said whether it is around a crowd.
    """
    samples, scores, right, counted = [], [], [], []
    for number, ((boxes, own), (truth, crowd)) in enumerate(zip(given, true, strict=True)):
        order = np.argsort(-own, kind="stable")[:_MOST]
        hit, off = _match(boxes[order], truth, crowd)
        samples.append(np.full(len(order), number))
        scores.append(own[order])
        right.append(hit)
        counted.append(~off)
    every = np.concatenate([np.empty(0), *scores])
    order = np.argsort(-every, kind="stable")

    def sorted_by_score(parts: Sequence[NDArray[np.bool_]]) -> Tensor:
        whole = np.concatenate([np.empty((len(THRESHOLDS), 0), dtype=bool), *parts], axis=1)
        return torch.from_numpy(np.ascontiguousarray(whole[:, order]))

    places = np.concatenate([np.empty(0, dtype=np.int64), *samples])[order].astype(np.int64)
    there = torch.tensor([int((~crowd).sum()) for _, crowd in true])
    return Matched(torch.from_numpy(places), sorted_by_score(right), sorted_by_score(counted), there)


def iou(one: Corners, other: Corners, crowd: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Intersection over union `[n, m]`; over the first box alone where the other is a crowd."""
    low, high = np.maximum(one[:, None, :2], other[None, :, :2]), np.minimum(one[:, None, 2:], other[None, :, 2:])
    both = (high - low).clip(0).prod(2)
    areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (one, other)]
    union = np.where(crowd[None], areas[0][:, None], areas[0][:, None] + areas[1][None] - both)
    found: NDArray[np.float64] = both / np.maximum(union, 1e-12)
    return found


def _match(boxes: Corners, truth: Corners, crowd: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of the boxes, best first, are right at each threshold `[T, n]`, and which match a crowd alone."""
    hit = np.zeros((len(THRESHOLDS), len(boxes)), dtype=bool)
    off = np.zeros_like(hit)
    if not len(boxes) or not len(truth):
        return hit, off
    overlap = iou(boxes, truth, crowd)
    for t, threshold in enumerate(THRESHOLDS):
        taken = np.zeros(len(truth), dtype=bool)
        for i in range(len(boxes)):
            free = np.where(taken | crowd, -1.0, overlap[i])
            # Of equal overlaps COCO's own code takes the last.
            best = len(free) - 1 - int(np.argmax(free[::-1]))
            if free[best] >= threshold:
                taken[best] = hit[t, i] = True
            elif crowd.any() and overlap[i, crowd].max() >= threshold:
                off[t, i] = True
    return hit, off
