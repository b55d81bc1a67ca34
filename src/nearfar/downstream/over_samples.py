"""Rows of figures that are no means over samples, such as a mean IoU: by resampling the samples they are made of.

A figure is a function of how often each of M samples counts. One training: percentiles over samples drawn with
repetition (Efron 1979). Several draws of labels: Student's t, with the variance over draws and that over resamples
added, its degrees of freedom by Satterthwaite.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from nearfar.evaluation.intervals import CROSSED, SAMPLES, Interval, normal
from nearfar.evaluation.task import Role, Row

Figure = Callable[[Tensor], Tensor]
"""Weights `[B, M]`, how often each sample counts, to B values of the figure."""
_RESAMPLES = 1000
_AT_ONCE = 2**22


def rows_over(
    task: str,
    metric: str,
    setting: Mapping[str, str | int],
    figures: Mapping[str, Sequence[Figure]],
    samples: int,
    *,
    chance: float | None = None,
    role: Role = "judged",
    seed: int = 0,
) -> list[Row]:
    """A row for each system, the last being the one in question: `figures` has one for each of its draws of labels.

    All are over the same M `samples`.
    """
    drawn = _drawn(samples, seed)
    without = 1 - torch.eye(samples, dtype=torch.float64)
    whole = torch.ones(1, samples, dtype=torch.float64)
    points = {name: torch.stack([_of(one, whole)[0] for one in draws]) for name, draws in figures.items()}
    boots = {name: torch.stack([_of(one, drawn) for one in draws]) for name, draws in figures.items()}
    left = {name: torch.stack([_of(one, without) for one in draws]).mean(0) for name, draws in figures.items()}
    last = list(figures)[-1]
    rows = []
    for name in figures:
        own, lead = name == last, None
        if not own:
            lead = _interval(points[last] - points[name], boots[last] - boots[name], samples)
        gap = points[last].mean() - (0 if own else points[name].mean())
        moved = (gap - (left[last] - (0 if own else left[name]))) * (samples - 1) / samples
        value = _interval(points[name], boots[name], samples)
        by_draw = points[name] if len(points[name]) > 1 else None
        rows.append(
            Row(
                name, task, metric, setting, value, lead,
                role=role, chance=chance, influence=moved - moved.mean(), by_draw=by_draw,
            )
        )  # fmt: skip
    return rows


def of_samples(setting: Mapping[str, str | int]) -> dict[str, str | int]:
    """A setting of `labels.Amount` where labels have no classes: a number is one of annotated samples."""
    return {name if name != "labels per class" else "annotated samples": value for name, value in setting.items()}


def _interval(points: Tensor, boots: Tensor, samples: int) -> Interval:
    """Of values [R] of the draws and [R, B] of their resamples."""
    mean, over_samples = float(points.mean()), boots.mean(0)
    within = float(over_samples.var()) if samples > 1 else 0.0
    if len(points) == 1:
        low, high = torch.quantile(over_samples, torch.tensor([0.025, 0.975], dtype=over_samples.dtype)).tolist()
        return Interval(mean, low, high, SAMPLES, samples, within**0.5, max(samples - 1, 1))
    between = float(points.var()) / len(points)
    spread = between**2 / (len(points) - 1) + within**2 / max(samples - 1, 1)
    freedom = max((between + within) ** 2 / spread, 1.0) if spread > 0 else len(points) - 1
    return normal(mean, (between + within) ** 0.5, CROSSED, len(points), freedom)


def _drawn(samples: int, seed: int) -> Tensor:
    """How often each sample comes in each of the resamples `[B, M]`."""
    generator = torch.Generator().manual_seed(seed)
    at = torch.randint(samples, (_RESAMPLES, samples), generator=generator)
    ones = torch.ones((), dtype=torch.float64).expand_as(at)
    return torch.zeros(_RESAMPLES, samples, dtype=torch.float64).scatter_add_(1, at, ones)


def _of(figure: Figure, weights: Tensor) -> Tensor:
    step = max(1, _AT_ONCE // max(1, weights.shape[1]))
    return torch.cat([figure(weights[start : start + step]).double() for start in range(0, len(weights), step)])
