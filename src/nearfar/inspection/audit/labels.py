"""Wrong labels: samples whose class others would not guess, by classifiers that have not seen their labels.

The probabilities of each sample come from a linear probe fitted to four fifths of the others and from its nearest
others, half of each. How many labels are wrong is not known beforehand: a label is taken to be drawn from the
probabilities, or, for a share of the samples, evenly from the other classes (symmetric noise: Natarajan et al.,
"Learning with noisy labels", 2013), and the share is what makes the labels given most likely, together with the
temperature that calibrates the probabilities (Guo et al., "On calibration of modern neural networks", 2017).
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
"""Another class this probable, and the label is wrong: classifiers that learn from wrong labels, too, seldom say so."""
_TEMPERATURES = np.geomspace(0.3, 3, 16)
_LEAST_SHARE = 1e-3
_ROUNDS = 50


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
    """Labelled samples by how probable it is that their label is wrong; `given` are `probabilities`."""
    rows = np.flatnonzero(labels >= 0)
    p, own = given[rows], labels[rows]
    at = np.arange(len(rows))
    others = p.copy()
    others[at, own] = -np.inf
    wrong, share = noise(p, own)
    return ranked(
        "labels",
        "Labels that may be wrong",
        rows,
        wrong,
        (wrong > 0.5) | (others.max(axis=1) >= _SURE),
        "Flagged where the label is more probably wrong than right, which is the score, or another class has a "
        f"probability of {100 * _SURE:.0f} %. The probabilities come from classifiers that have not seen the label, "
        f"and are calibrated by all labels; the share of wrong labels that explains these best is {100 * share:.1f} %.",
        suggested=others.argmax(axis=1),
    )


def noise(p: Floats, labels: Rows) -> tuple[Floats, float]:
    """How probable it is that each label is wrong `[N]`, by probabilities `[N, classes]`, and the share of wrong ones.

    Maximum likelihood over temperatures, and over shares by expectation and maximisation.
    """
    logs = np.log(np.maximum(p, 1e-6))
    best, found, found_share = -np.inf, np.zeros(len(labels)), 0.0
    for temperature in _TEMPERATURES:
        scaled = np.exp((logs - logs.max(axis=1, keepdims=True)) / temperature)
        own = (scaled / scaled.sum(axis=1, keepdims=True))[np.arange(len(labels)), labels]
        other = (1 - own) / max(p.shape[1] - 1, 1)  # a wrong label is any of the classes that the sample is not of
        share = 0.05
        for _ in range(_ROUNDS):
            wrong = share * other / np.maximum(share * other + (1 - share) * own, 1e-300)
            share = float(np.clip(wrong.mean(), _LEAST_SHARE, 0.5)) if len(wrong) else 0.0
        likelihood = float(np.log(np.maximum(share * other + (1 - share) * own, 1e-300)).sum())
        if likelihood > best:
            best, found, found_share = likelihood, wrong, share
    return found, found_share


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
