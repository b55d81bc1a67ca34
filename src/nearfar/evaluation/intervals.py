"""95 % intervals, each of the kind that its figure calls for, and printed with that kind.

One fit: bootstrap over test samples (Efron 1979). Several label draws: both the draws and the test samples vary. Seeds:
Student's t over them. Two systems are compared by the interval of their mean difference on the same test samples, draws
or seeds; ahead means that it excludes zero.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nearfar.errors import ConfigError, DataError

SAMPLES = "bootstrap over test samples"
DRAWS = "t over label draws"
CROSSED = "t over label draws and test samples"
DELONG = "DeLong's over test samples"
SEEDS = "t over seeds"
FIGURE = "no interval"
KINDS = (SAMPLES, DRAWS, SEEDS)


@dataclass(frozen=True)
class Interval:
    """A mean with the ends of its 95 % interval, what the interval is over (`kind`), and over how many."""

    mean: float
    low: float
    high: float
    kind: str
    count: int
    error: float | None = None
    """Standard error of the mean; None where it is not known."""
    freedom: float | None = None
    """Degrees of freedom of `error`."""

    @property
    def half_width(self) -> float:
        """Half of the interval's length."""
        return (self.high - self.low) / 2

    @property
    def outcome(self) -> Literal["ahead", "behind", "unclear"]:
        """Read a difference: "ahead" or "behind" where the interval excludes zero, else "unclear"."""
        if self.count >= 2 and self.low > 0:
            return "ahead"
        return "behind" if self.count >= 2 and self.high < 0 else "unclear"

    def percent(self) -> str:
        """Write a share as `79.3 ± 1.2`, in percent."""
        return f"{100 * self.mean:.1f} ± {100 * self.half_width:.1f}"

    def __float__(self) -> float:
        return self.mean

    def __str__(self) -> str:
        return f"{self.percent()} %"


def figure(value: float, count: int) -> Interval:
    """A value of `count` samples that has no interval: both ends are the value."""
    return Interval(value, value, value, FIGURE, count)


def bootstrap(values: Tensor, *, resamples: int = 2000, seed: int = 0) -> Interval:
    """Interval of the mean of `[N]`, one value a test sample: percentiles of the means of N drawn with repetition."""
    return bootstrap_columns(values[:, None], resamples=resamples, seed=seed)[0]


def bootstrap_columns(values: Tensor, *, resamples: int = 2000, seed: int = 0) -> list[Interval]:
    """Give `bootstrap` of each column of `[N, M]`, all over the same resamples."""
    x = values.detach().double().cpu()
    count = len(x)
    if not count:
        raise DataError("An interval needs at least one value, got none.")
    generator = torch.Generator().manual_seed(seed)
    step = max(1, 2**22 // count)
    means = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = torch.randint(count, (size, count), generator=generator)
        times = torch.zeros(size, count, dtype=x.dtype).scatter_add_(
            1, drawn, torch.ones((), dtype=x.dtype).expand_as(drawn)
        )
        means.append(times @ x / count)
    ends = torch.quantile(torch.cat(means), torch.tensor([0.025, 0.975], dtype=x.dtype), dim=0)
    errors = x.std(0) / count**0.5 if count > 1 else torch.zeros(x.shape[1])
    return [
        Interval(mean, low, high, SAMPLES, count, error, count - 1)
        for mean, (low, high), error in zip(x.mean(0).tolist(), ends.T.tolist(), errors.tolist(), strict=True)
    ]


def t_interval(values: Tensor, *, kind: str = DRAWS) -> Interval:
    """Interval of the mean of `values` `[R]`, one a draw or seed: mean ± t(0.975, R - 1) * std / sqrt(R).

    With one value there is no interval: both ends are the value, and `count` says 1.
    """
    x = values.detach().double().cpu()
    count = len(x)
    if not count:
        raise DataError("An interval needs at least one value, got none.")
    error = float(x.std()) / count**0.5 if count > 1 else 0.0
    return _student(float(x.mean()), error, count - 1, kind, count)


def over_draws(values: Tensor) -> Interval:
    """`t_interval` over label draws."""
    return t_interval(values, kind=DRAWS)


def over_seeds(values: Tensor) -> Interval:
    """`t_interval` over training seeds."""
    return t_interval(values, kind=SEEDS)


def crossed(values: Tensor) -> Interval:
    """Interval of the mean of `[R, N]`, R label draws each judged on the same N test samples.

    Both vary: the variance of the mean is that of a table with random rows and columns, (MS_draws + MS_samples -
    MS_both) / (R N), its degrees of freedom by Satterthwaite (Searle, Casella and McCulloch, "Variance components",
    1992, chapter 4). It is never taken for less than the larger of its two parts.
    """
    x = values.detach().double().cpu()
    draws, count = x.shape
    if draws < 2 or count < 2:
        return t_interval(x.mean(dim=1))
    mean, by_draw, by_sample = x.mean(), x.mean(dim=1), x.mean(dim=0)
    both = (x - by_draw[:, None] - by_sample + mean).square().sum() / ((draws - 1) * (count - 1))
    parts = torch.stack([by_draw.var() / draws, by_sample.var() / count])  # each MS / (R N)
    variance = float(torch.maximum(parts.sum() - both / (draws * count), parts.max()))
    if variance == 0:
        return _student(float(mean), 0.0, draws - 1, CROSSED, draws)
    spread = float(parts[0] ** 2 / (draws - 1) + parts[1] ** 2 / (count - 1))
    return _student(float(mean), variance**0.5, max(variance**2 / spread, 1.0), CROSSED, draws)


def paired(a: Tensor, b: Tensor, *, kind: str = SAMPLES, seed: int = 0) -> Interval:
    """Interval of the mean of a - b `[N]`, value by value on the same test samples, draws or seeds (`kind`).

    Its `outcome` says whether a is ahead of b.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}.")
    if a.shape != b.shape:
        raise DataError(f"Paired values must be over the same {kind.split()[-1]}: got {len(a)} and {len(b)} of them.")
    difference = a.detach().double().cpu() - b.detach().double().cpu()
    return bootstrap(difference, seed=seed) if kind == SAMPLES else t_interval(difference, kind=kind)


def normal(mean: float, error: float, kind: str, count: int, freedom: float | None = None) -> Interval:
    """Interval of a value with a known standard error: Student's t at `freedom`, by default `count` - 1."""
    return _student(mean, error, count - 1 if freedom is None else freedom, kind, count)


def _student(mean: float, error: float, freedom: float, kind: str, count: int) -> Interval:
    from scipy.special import stdtrit

    half = float(stdtrit(freedom, 0.975)) * error if error > 0 else 0.0
    return Interval(mean, mean - half, mean + half, kind, count, error, freedom)
