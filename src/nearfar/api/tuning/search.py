"""Which settings are tried next, and which trials are given up half way: by optuna.

Akiba et al., "Optuna: a next-generation hyperparameter optimization framework", 2019; its sampler is TPE (Bergstra et
al., "Algorithms for hyper-parameter optimization", 2011). What is suggested depends on the seed, the number of the
trial and the trials before it alone, so that a tuning that goes on tries what one would that had never stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearfar import randomness
from nearfar.api.tuning.record import Tried
from nearfar.api.tuning.space import Dimension, Space
from nearfar.errors import MissingExtra

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_DRAWN = 6
"""Trials that are drawn at random before the sampler follows the better ones."""
_UNPRUNED = 4
"""Trials that are finished before any is given up."""


@dataclass(frozen=True)
class Suggestion:
    """Values by setting; `hopeless(i, score)` says whether the trial should end at its i-th look, from 1 on."""

    values: dict[str, Any]
    hopeless: Callable[[int, float], bool]


def check() -> None:
    """Raise MissingExtra where optuna is not installed."""
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        raise MissingExtra("nearfar tune", "optuna", "tune")


def suggest(space: Space, tried: Sequence[Tried], seed: int) -> Suggestion:
    """What to try after these trials, of which the first were the defaults."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(
        seed=randomness.seed_of(seed, "tune", len(tried)) % 2**32, n_startup_trials=_DRAWN, multivariate=True
    )
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    for one in tried:
        if one.state != "failed":
            study.add_trial(_told(space, one))
    trial = study.ask()

    def pick(dimension: Dimension) -> Any:
        if dimension.span is None:
            return trial.suggest_categorical(dimension.name, dimension.choices)
        span = dimension.span
        return trial.suggest_float(dimension.name, span.low, span.high, log=span.log)

    def hopeless(look: int, score: float) -> bool:
        trial.report(score, look)
        return trial.should_prune()

    return Suggestion(space.drawn(pick), hopeless)


def _told(space: Space, one: Tried) -> Any:
    """A trial as optuna keeps it; values of the defaults that lie outside of what is tried are moved to its end."""
    import optuna

    distributions = _distributions(space, one.values)
    params = {}
    for name, distribution in distributions.items():
        value = one.values[name]
        if isinstance(distribution, optuna.distributions.FloatDistribution):
            value = min(max(value, distribution.low), distribution.high)
        params[name] = value
    pruned = one.state == "pruned"
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE,
        value=one.score,
        params=params,
        distributions=distributions,
        intermediate_values=dict(enumerate(one.way, 1)),
    )


def _distributions(space: Space, values: Mapping[str, Any]) -> dict[str, "BaseDistribution"]:
    """Where the values of a trial were drawn from."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    found: dict[str, BaseDistribution] = {}

    def note(dimension: Dimension) -> Any:
        span = dimension.span
        if dimension.name in values:
            found[dimension.name] = (
                CategoricalDistribution(dimension.choices)
                if span is None
                else FloatDistribution(span.low, span.high, log=span.log)
            )
        return values.get(dimension.name, dimension.usual)

    space.drawn(note)
    return found
