"""All leads over one baseline, tested together: which differ from zero once it counts how many were looked at?

Each lead is divided by its error, and compared with what the largest of so many related normal variables reaches by
chance: the step-down max-T procedure (Westfall and Young, "Resampling-based multiple testing", 1993, section 2.6), with
the normal distribution of the leads' own correlations in place of resamples. The probability that any lead is called
different where none is stays below 5 %, whatever the correlations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from nearfar.evaluation.intervals import Interval
from nearfar.evaluation.task import Row

LEVEL = 0.05
MARGIN = 0.02
"""Differences of shares below this are called no difference: random starts of one encoder differ as much."""
_SAMPLES = 10_000


@dataclass(frozen=True)
class Tested:
    """A difference, with what the joint test makes of it."""

    row: Row
    difference: Interval
    outcome: str
    """"ahead", "behind" or "unclear", after correction for the number of rows."""
    low: float
    high: float
    """The simultaneous 95 % interval: with 95 % probability those of all rows hold."""


def jointly(
    rows: Sequence[Row],
    differences: Sequence[Interval],
    correlations: Sequence[Sequence[float]] | None = None,
    *,
    margin: float = MARGIN,
) -> list[Tested]:
    """Test differences `[R]` of rows together; without correlations `[R, R]` they are taken for independent.

    A difference is tested for being further from zero than `margin` where the row is a share, else for not being zero.
    """
    if not rows:
        return []
    matrix = torch.eye(len(rows)) if correlations is None else torch.tensor(correlations)
    largest = _largest(tuple(map(tuple, matrix.tolist())))
    scores = torch.tensor(
        [_score(d, margin if row.share else 0.0) for row, d in zip(rows, differences, strict=True)], dtype=torch.float64
    )
    order = scores.abs().argsort(descending=True, stable=True).tolist()
    remaining = largest[:, order[::-1]].cummax(dim=1).values.flip(1)  # the largest of each row and of those after it
    beyond = (remaining >= scores[order].abs()).double().mean(dim=0)
    significant, found = True, {}
    for step, i in enumerate(order):
        significant &= bool(beyond[step] < LEVEL)
        better = (differences[i].mean > 0) == (rows[i].higher_is_better is not False)
        found[i] = ("ahead" if better else "behind") if significant else "unclear"
    width = float(remaining[:, 0].kthvalue(round((1 - LEVEL) * len(remaining))).values)
    return [
        Tested(row, d, found[i], d.mean - width * error_of(d), d.mean + width * error_of(d))
        for i, (row, d) in enumerate(zip(rows, differences, strict=True))
    ]


def correlations_of(rows: Sequence[Row]) -> list[list[float]]:
    """How the leads of rows over one baseline are related `[R, R]`, by what each test sample adds to them.

    What label draws add is taken for unrelated, as are rows that do not say what their samples add.
    """
    size = len(rows)
    matrix = torch.eye(size, dtype=torch.float64)
    for i in range(size):
        for j in range(i):
            (a, b), (one, other) = (rows[i].influence, rows[j].influence), (rows[i].lead, rows[j].lead)
            if a is None or b is None or a.shape != b.shape or one is None or other is None:
                continue
            scale = error_of(one) * error_of(other)
            if scale > 0:
                matrix[i, j] = matrix[j, i] = (a.double() @ b.double() / scale).clamp(-1, 1)
    return [[round(value, 3) for value in line] for line in matrix.tolist()]


def error_of(value: Interval) -> float:
    """The standard error of an interval's mean; where it was not stored, what the interval's length implies."""
    return value.error if value.error is not None else value.half_width / 1.96


def _score(difference: Interval, margin: float) -> float:
    """How many errors the difference is beyond the margin.

    The error is that about the margin, not about the mean: over few samples or draws this keeps the score below what a
    normal variable would reach, where Student's would exceed it.
    """
    beyond = max(abs(difference.mean) - margin, 0.0)
    freedom = difference.freedom if difference.freedom is not None else difference.count - 1
    error = (error_of(difference) ** 2 + beyond**2 / (freedom + 1)) ** 0.5 if freedom >= 1 else float("inf")
    return beyond / error if error > 0 else 0.0


@lru_cache(maxsize=64)
def _largest(matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Absolute values of normal variables with these correlations, `[samples, R]`."""
    values, directions = torch.linalg.eigh(torch.tensor(matrix, dtype=torch.float64))
    root = directions * values.clamp_min(0).sqrt()
    root = root / root.norm(dim=1, keepdim=True).clamp_min(1e-12)  # unit variances, should rounding have cost some
    normal = torch.randn(_SAMPLES, len(matrix), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    largest: Tensor = (normal @ root.T).abs()
    return largest
