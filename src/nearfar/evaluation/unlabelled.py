"""Figures by which encoders of one data set are told apart without labels, and what they come to together.

Each figure is a number that is made to rise with the accuracy of neighbours. How well each does, and the combination
whose weights it has fitted, is measured by benchmarks/judge.py: on sets that they were not fitted on, not well enough
to trust a small lead (docs/tuning.md).
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from nearfar.diagnostics import agreement, alignment, discriminant_rank, effective_rank, uniformity, view_hits
from nearfar.evaluation.knn import nearest
from nearfar.whitening import Whitening

FIGURES = {
    "effective rank": "logarithm of the number of directions that vectors use (RankMe)",
    "discriminant rank": "logarithm of the number of directions that tell samples from changes of their views (LiDAR)",
    "alignment": "how near the two views of a sample are, the logarithm of their mean squared distance with its sign "
    "turned round",
    "uniformity": "how evenly vectors spread, with its sign turned round",
    "agreement": "the share of the variance that lies between samples, not between their views",
    "view retrieval": "how often a view finds the other view of its sample among others, as log odds",
    "halves": "how many of a sample's neighbours by one half of the dimensions are those by the other, as log odds",
    "views' neighbours": "how many of a view's neighbours are those of the other view, as log odds",
}
_NEIGHBOURS, _DIVISIONS = 10, 4


@torch.no_grad()
def figures(vectors: Tensor, first: Tensor, second: Tensor, *, whiten: bool, seed: int = 0) -> dict[str, float]:
    """`FIGURES` of vectors of samples `[N, D]` and of two views of each, `[N, D]` twice; N >= 2.

    Ranks are those of the vectors as they are; the others, with `whiten`, of whitened ones as a finished encoder gives
    them. One that does not exist is NaN.
    """
    found = {
        "effective rank": _log(effective_rank(vectors)),
        "discriminant rank": _log(discriminant_rank(first, second)),
    }
    if whiten:
        whitening = Whitening(vectors.shape[1]).fit(vectors)
        vectors, first, second = whitening(vectors), whitening(first), whitening(second)
    hits = view_hits(first, second)
    return found | {
        "alignment": -_log(alignment(first, second)),
        "uniformity": -float(uniformity(vectors)),
        "agreement": float(agreement(first, second)),
        "view retrieval": _log_odds(float(hits.sum()), len(hits)),
        "halves": _halves(vectors, seed),
        "views' neighbours": _shared(first, second),
    }


def _halves(vectors: Tensor, seed: int) -> float:
    """The log odds that a neighbour by one half of the dimensions is one by the other, over some divisions."""
    generator, odds = torch.Generator().manual_seed(seed), []
    for _ in range(_DIVISIONS):
        order = torch.randperm(vectors.shape[1], generator=generator).to(vectors.device)
        middle = len(order) // 2
        odds.append(_shared(vectors[:, order[:middle]], vectors[:, order[middle:]]) if middle else math.nan)
    return sum(odds) / len(odds)


def _shared(one: Tensor, other: Tensor) -> float:
    """The log odds that a neighbour of a sample by `one` `[N, D]` is one by `other` `[N, E]`."""
    count = min(_NEIGHBOURS, len(one) - 1)
    near = [nearest(some, some, count, exclude_self=True)[1] for some in (one, other)]
    both = (near[0][:, :, None] == near[1][:, None]).any(2)
    return _log_odds(float(both.sum()), both.numel())


def _log(value: Tensor) -> float:
    return math.log(max(float(value), 1e-12))


def _log_odds(hits: float, count: int) -> float:
    return math.log((hits + 0.5) / (count - hits + 0.5))


def combined(found: Mapping[str, float]) -> float:
    """What the figures come to: of two encoders of one data set, the one with more is likely to be the better one.

    A difference is about that of the log odds of the accuracy of neighbours.
    """
    return sum(weight * found[name] for name, weight in WEIGHTS.items())


WEIGHTS: dict[str, float] = {"uniformity": 0.2151, "view retrieval": 0.0685, "halves": 0.0372}
"""Fitted by `python benchmarks/judge.py --fit`."""

ERROR = 0.403
"""What a lead must exceed to be believed: on sets that the weights were not fitted on, 95 % of the leads over the
defaults are this near to those in the log odds of the accuracy."""
