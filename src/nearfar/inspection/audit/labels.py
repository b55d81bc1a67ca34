"""Wrong labels: samples whose class others would not guess, by classifiers that have not seen their labels.

The probabilities of each sample come from a linear probe fitted to four fifths of the others and from its nearest
others, half of each. What is beyond the threshold is told as by confident learning: Northcutt, Jiang and Chuang,
"Confident learning: estimating uncertainty in dataset labels" (2021), section 3.1.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.evaluation.linear import fit_linear
from nearfar.inspection.audit.neighbours import Neighbours
from nearfar.inspection.audit.ranking import Floats, Note, Ranking, Rows, ranked

FOLDS = 5
NEIGHBOURS = 20
_TEMPERATURE = 0.1
_PAIRS = 30
_SURE = 0.75
"""Probable enough for any class: the average of a class that is easy to tell is nearly 1."""


def probabilities(vectors: Tensor, near: Neighbours, labels: Rows, classes: int, seed: int = 0) -> Floats:
    """The probability of each class for each sample `[N, classes]`, without its own label; labels -1 give none."""
    known = np.flatnonzero(labels >= 0)
    found = 0.5 * _of_neighbours(near, labels, classes)
    folds = _folds(labels[known], seed)
    strength: float | None = None
    for fold in range(FOLDS):
        learnt, asked = known[folds != fold], np.flatnonzero(labels < 0) if fold == 0 else np.empty(0, np.int64)
        asked = np.concatenate([known[folds == fold], asked])
        probe = fit_linear(
            vectors[learnt], torch.from_numpy(labels[learnt]), classes=classes, seed=seed, strength=strength
        )
        strength = probe.strength
        found[asked] += 0.5 * probe.probabilities(vectors[asked].float(), classes).double().cpu().numpy()
    total: Floats = np.maximum(found.sum(axis=1, keepdims=True), 1e-12)
    return np.divide(found, total)


def wrong_labels(given: Floats, labels: Rows) -> Ranking:
    """Labelled samples by how much likelier another class is than their own; `given` are `probabilities`."""
    rows = np.flatnonzero(labels >= 0)
    p, own = given[rows], labels[rows]
    at = np.arange(len(rows))
    sizes = np.bincount(own, minlength=given.shape[1])
    sums = np.zeros(given.shape[1])
    np.add.at(sums, own, p[at, own])
    # A class's own probability, on average.
    usual = np.where(sizes > 0, np.minimum(sums / np.maximum(sizes, 1), _SURE), np.inf)
    others = p.copy()
    others[at, own] = -np.inf
    best = others.argmax(axis=1)
    scores = others[at, best] - p[at, own]
    sure = np.where(others >= usual, others, -np.inf)
    flagged = np.isfinite(sure.max(axis=1)) & (sure.max(axis=1) > p[at, own])
    suggested = np.where(flagged, sure.argmax(axis=1), best)
    return ranked(
        "labels",
        "Labels that may be wrong",
        rows,
        scores,
        flagged,
        "Flagged where another class is at least as probable as it is for its own samples on average, or "
        f"{_SURE:g}, and more probable than the class given; the probabilities come from classifiers that have not "
        "seen the label. The score is the difference of the two probabilities.",
        suggested=suggested,
    )


def confusable(given: Floats, labels: Rows, names: Sequence[str], left_out: Rows) -> list[Note]:
    """Pairs of classes that are taken for each other, the worst first; samples `left_out` do not count."""
    counted = labels.copy()
    counted[left_out] = -1
    rows = np.flatnonzero(counted >= 0)
    classes = given.shape[1]
    mean = np.zeros((classes, classes))
    np.add.at(mean, counted[rows], given[rows])
    mean /= np.maximum(np.bincount(counted[rows], minlength=classes), 1)[:, None]
    both = np.triu((mean + mean.T) / 2, 1)
    found = []
    for place in np.argsort(-both, axis=None, kind="stable")[:_PAIRS].tolist():
        one, other = divmod(place, classes)
        if both[one, other] < 2 / classes**2:  # no more than any two
            break
        likeliest = [
            int(rows[np.argmax(np.where(counted[rows] == a, given[rows, b], -1))])
            for a, b in ((one, other), (other, one))
        ]
        found.append(
            Note(
                f"{names[one]} and {names[other]}",
                f"a sample of the one is taken for the other with a probability of {100 * both[one, other]:.0f} %",
                float(both[one, other]),
                likeliest,
            )
        )
    return found


def _of_neighbours(near: Neighbours, labels: Rows, classes: int) -> Floats:
    """The votes of each sample's nearest others; of equal vectors, the others of the same vector vote too."""
    votes = np.zeros((len(near.first), classes))
    known = labels >= 0
    np.add.at(votes, (near.same[known], labels[known]), 1.0)  # of each different vector
    if near.k:
        similarities, rows = near.similarities[:, :NEIGHBOURS], near.rows[:, :NEIGHBOURS].numpy()
        weights = ((similarities - similarities[:, :1]) / _TEMPERATURE).double().exp().numpy()
        share = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)
        found: NDArray[np.float64] = np.einsum("uk,ukc->uc", weights, share[rows])[near.same]
    else:
        found = np.zeros((len(labels), classes))
    own = votes[near.same]
    own[known, labels[known]] -= 1
    found += own
    total = found.sum(axis=1, keepdims=True)
    return np.where(total > 0, found / np.maximum(total, 1e-12), 1 / classes)


def _folds(labels: Rows, seed: int) -> Rows:
    """The fold of each sample, every class spread evenly over the folds."""
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(len(labels), dtype=np.int64)
    folds[by_class] = np.arange(len(labels)) % FOLDS
    return folds
