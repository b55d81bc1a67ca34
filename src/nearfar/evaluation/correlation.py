"""Correlations with bootstrap intervals, and the differences of two of them on the same samples.

Each of 1,000 resamples is ranked anew, ties by their mean rank, so that the interval of Spearman's correlation is that
of the whole statistic (Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 6).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nearfar.evaluation.intervals import SAMPLES, Interval

Ranks = Callable[[Tensor], Tensor]
_RESAMPLES = 1000
_ENTRIES = 2**22


def ranker(values: Tensor) -> Ranks:
    """Mean ranks of values `[M]` among samples that stand there `counts` `[R, M]` times."""
    _, place = torch.unique(values, return_inverse=True)

    def ranks(counts: Tensor) -> Tensor:
        each = torch.zeros(len(counts), int(place.max()) + 1, dtype=counts.dtype).index_add_(1, place, counts)
        return (each.cumsum(1) - each / 2 + 0.5)[:, place]

    return ranks


def plain(values: Tensor) -> Ranks:
    """The values themselves: Pearson's correlation in place of Spearman's."""
    return lambda counts: values.expand(len(counts), -1)


def correlations(one: Ranks, other: Ranks, counts: Tensor) -> Tensor:
    """The correlation among the samples of each row of `counts` `[R, M]`; 0 where nothing varies."""
    size = counts.sum(1, keepdim=True)
    x, y = (made(counts) for made in (one, other))
    x, y = (z - (counts * z).sum(1, keepdim=True) / size for z in (x, y))
    both, first, second = ((counts * z).sum(1) for z in (x * y, x * x, y * y))
    product = first * second
    return torch.where(product > 0, both / product.clamp_min(torch.finfo(product.dtype).tiny).sqrt(), 0.0)


def judged(
    answers: Sequence[Tensor], truth: Tensor, *, ranked: bool, seed: int = 0
) -> tuple[list[Interval], list[Interval], list[Tensor]]:
    """Correlations of each system's answers `[M]` with the truth `[M]`, Spearman's where `ranked`, else Pearson's.

    The intervals, those of the leads of the last system over each other, and by how much each sample moves the leads,
    and of the last system its value.
    """
    made = ranker if ranked else plain
    wanted, given = made(truth.double()), [made(one.double()) for one in answers]
    count = len(truth)
    whole = torch.ones(1, count, dtype=torch.float64)
    values = torch.cat([correlations(one, wanted, whole) for one in given])
    generator = torch.Generator().manual_seed(seed)
    step, parts = max(1, _ENTRIES // count), []
    for start in range(0, _RESAMPLES, step):
        drawn = torch.randint(count, (min(step, _RESAMPLES - start), count), generator=generator)
        counts = torch.zeros(drawn.shape, dtype=torch.float64)
        counts.scatter_add_(1, drawn, torch.ones((), dtype=torch.float64).expand_as(drawn))
        parts.append(torch.stack([correlations(one, wanted, counts) for one in given], 1))
    resampled = torch.cat(parts)  # [R systems]
    moved = [_influence(one(whole)[0], wanted(whole)[0]) for one in given]
    leads = [
        _interval(values[-1] - values[i], resampled[:, -1] - resampled[:, i], count) for i in range(len(given) - 1)
    ]
    differences = [(moved[-1] - one) / count for one in moved[:-1]] + [moved[-1] / count]
    return [_interval(values[i], resampled[:, i], count) for i in range(len(given))], leads, differences


def _interval(value: Tensor, resampled: Tensor, count: int) -> Interval:
    low, high = torch.quantile(resampled, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(float(value), low, high, SAMPLES, count, float(resampled.std()), count - 1)


def _influence(x: Tensor, y: Tensor) -> Tensor:
    """The influence `[M]` of each sample on the correlation of x and y (Hampel et al. 1986); of ranks, near enough."""
    x, y = ((z - z.mean()) / z.std(correction=0).clamp_min(1e-12) for z in (x, y))
    r = (x * y).mean()
    return x * y - r / 2 * (x * x + y * y)
