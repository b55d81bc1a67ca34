"""Which of a modality's recipes makes the views: each is tried for a few steps where labels can judge it.

The trials take a tenth of the run in all. An encoder is judged by the nearest neighbours of the labelled samples that
are trained on; those that judge the finished encoder are left out. The usual recipe stays unless another one is ahead
of it by more than chance.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor

from nearfar import given
from nearfar.api import build, judge
from nearfar.config import TrainConfig, seconds
from nearfar.contract import Modality, Rows
from nearfar.errors import UnknownName
from nearfar.evaluation.intervals import paired
from nearfar.options import Choice
from nearfar.training import pilot
from nearfar.training.plan import Plan
from nearfar.training.syncnorm import synchronised

_log = logging.getLogger("nearfar")
SHARE = 0.1
"""Of the run, which all trials together may take."""
LEAST_STEPS = 30
"""Of a trial: shorter ones tell nothing."""
_TIMED = 4  # steps


def usual(config: TrainConfig, modality: Modality, *, gentle: bool = False) -> TrainConfig:
    """The settings with the recipe that was named, or else with the usual one, in what is open.

    Where no recipe was named and views are to be `gentle`, options that are open or as usual make them so.

    Raises UnknownName for a recipe that the modality does not have.
    """
    name = config.model.views
    if name is not None and given.is_given(name):
        return config
    if name not in (None, "auto", *modality.recipes):
        raise UnknownName("recipe for views", str(name), ["auto", *modality.recipes])
    if gentle and name is None:
        options, plain = config.modality_options, modality.Options()
        new = {one: value for one, value in modality.gentle.items() if getattr(options, one) == getattr(plain, one)}
        config = replace(config, modality_options=replace(options, **new))
    if not modality.recipes:
        return config
    taken = next(iter(modality.recipes)) if name in (None, "auto") else str(name)
    return _with(config, modality, taken)


def settle(
    asked: TrainConfig, config: TrainConfig, modality: Modality, plan: Plan, left_out: Rows | None, started: float
) -> tuple[TrainConfig, list[Choice]]:
    """The settings `config` with the recipe that suits the data best, where `asked`, what was given, leaves it open.

    The samples `left_out` do not judge. A time budget counts from `started` (a `time.monotonic` value).
    """
    if asked.model.views not in (None, "auto") or (plan.method.gentle and asked.model.views is None):
        return config, []
    options = asked.modality_options
    if any(getattr(options, option) is not None for option in modality.recipe_options):
        return config, []
    settled = config.modality_options
    recipes = {
        name: replace(config, modality_options=replace(settled, **modality.recipes[name]))
        for name in modality.recipes_for(plan.source)
    }
    if not recipes:
        return config, []
    name, why, judged = _best(recipes, modality, plan, left_out, started)
    found = recipes[name]
    return (
        replace(found, model=replace(found.model, views=name, labels_chose_views=judged)),
        [Choice("views", name, why)],
    )


def _best(
    recipes: Mapping[str, TrainConfig], modality: Modality, plan: Plan, left_out: Rows | None, started: float
) -> tuple[str, str, bool]:
    """The name of the recipe to take, why, and whether labels have chosen it."""
    usual_one, config = next(iter(recipes.items()))
    asked = judge.by_labels(plan.source, left_out)
    if asked is None:
        return usual_one, "the usual one: there are no labels to choose by", False
    if synchronised(plan.method) or config.machine.compile:
        return (
            usual_one,
            "the usual one: others are not tried with norms over all processes, or compiled networks",
            False,
        )
    steps = int(SHARE * _steps(config, plan, started) / len(recipes))
    if steps < LEAST_STEPS:
        return usual_one, "the usual one: the run is too short to try others", False
    whiten = config.model.whiten and plan.method.encoder.whitens
    _log.info("trying %s for views, %d steps of each", ", ".join(recipes), steps)
    right: dict[str, Tensor] = {}
    for name, one in recipes.items():
        views = build.views(one, modality, plan.method.encoder)
        encoder, _ = pilot.train(replace(plan, make_views=views), steps, partial(build.optimizer, config, start=None))
        score = judge.told(asked, encoder, plan.source, whiten=whiten)
        if score is None or score.each is None:
            return usual_one, "the usual one: some samples could not be read again", False
        right[name] = score.each
    shares = ", ".join(f"{name} {100 * float(values.mean()):.1f} %" for name, values in right.items())
    best = max(right, key=lambda name: float(right[name].mean()))
    if paired(right[best], right[usual_one], seed=plan.seed).outcome != "ahead":
        best = usual_one
    return best, f"classes of neighbours in the training part, after {steps} steps of each: {shares}", True


def _steps(config: TrainConfig, plan: Plan, started: float) -> float:
    """How many steps the run has; of a time budget, as many as fit by what a few take."""
    length = config.length
    if length.budget is None:
        return length.steps or (length.epochs or 0) * plan.order.steps_per_epoch
    _, taken = pilot.train(plan, _TIMED, partial(build.optimizer, config, start=None))
    return (seconds(length.budget) - (time.monotonic() - started)) / max(taken, 1e-6)


def _with(config: TrainConfig, modality: Modality, name: str) -> TrainConfig:
    """The settings with a recipe in what is open."""
    options, values = config.modality_options, modality.recipes[name]
    new = {option: value for option, value in values.items() if getattr(options, option) is None}
    return replace(config, modality_options=replace(options, **new))
