"""Probabilities that mean what they say: temperature scaling, and the error that it corrects.

Guo et al., "On calibration of modern neural networks", 2017: one temperature T divides all scores, chosen by the
cross-entropy on samples that the head has not learnt from (section 4.2); the expected calibration error is the mean
difference between confidence and accuracy over equally wide bins of confidence (section 2).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_BINS = 15
_WIDEST = 20.0  # temperatures are looked for between this and one over it


def temperature(scores: Tensor, labels: Tensor) -> float:
    """The temperature under which scores `[N, K]` give their labels `[N]` the least cross-entropy."""
    from math import exp, log

    from scipy.optimize import minimize_scalar

    x = scores.detach().double()

    def cost(logarithm: float) -> float:
        return float(F.cross_entropy(x / exp(logarithm), labels))

    found = minimize_scalar(cost, bounds=(-log(_WIDEST), log(_WIDEST)), method="bounded")
    return exp(float(found.x))


def calibration_error(confidence: Tensor, right: Tensor) -> float:
    """The expected calibration error, in [0, 1], of the confidence `[M]` that each answer is right `[M]`."""
    if not len(confidence):
        return 0.0
    place = (confidence.double() * _BINS).long().clamp(0, _BINS - 1)
    gaps = torch.zeros(_BINS, dtype=torch.float64).index_add_(0, place, confidence.double() - right.double())
    return float(gaps.abs().sum()) / len(confidence)
