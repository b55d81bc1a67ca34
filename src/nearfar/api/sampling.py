"""Which samples meet in a step, and what is a positive of what: by the options, the data and the method."""

from dataclasses import replace
from typing import Literal

import numpy as np

from nearfar.config import Data
from nearfar.contract import Requirements, Rows, Source
from nearfar.errors import ConfigError
from nearfar.memory import available_memory
from nearfar.options import Choice
from nearfar.training.order import Balanced, Labelled, Order, Streamed
from nearfar.training.positives import Against, Given, OfGroup, Positives


def labels(source: Source, requires: Requirements, held: Rows | None) -> tuple[Rows | None, list[Choice]]:
    """The labels that the method learns from, without those of the samples `held`; None where it learns without.

    Raises ConfigError where the method learns from labels and there are too few.
    """
    if not requires.labels and not requires.samples_per_class:
        return None, []
    known = source.labels
    if known is None or len(np.unique(known[known >= 0])) < 2:
        raise ConfigError(
            f"The method learns from labels, and {source.name!r} has none of at least two classes: name a column "
            "`label`, make the folders classes, or take a method that needs none (`nearfar list methods`)."
        )
    if held is None:
        return known, []
    shown = known.copy()
    shown[held] = -1
    why = "a fifth of them is held back, to judge by"
    return shown, [Choice("labels", int((shown >= 0).sum()), why)]


def order(
    given: Data, source: Source, labels: Rows | None, requires: Requirements, batch_size: int, seed: int
) -> tuple[Order, list[Choice]]:
    """The order that the data is read in, `labels` being those that may be seen.

    Raises ConfigError where a method or option asks for what is not there.
    """
    shards = source.shards
    if requires.samples_per_class:
        assert labels is not None
        if given.order == "streamed":
            raise ConfigError("--order streamed cannot balance classes; leave it out for this method.")
        balanced = Balanced(labels, batch_size, seed, samples_per_class=requires.samples_per_class)
        left = int((labels < 0).sum())
        what = f"{balanced.classes} classes x {balanced.samples_per_class} samples"
        return balanced, [Choice("order", what, f"as the method asks; {left} samples without a label are left out")]
    if given.order == "streamed" and shards is None:
        raise ConfigError(f"{source.name!r} does not lie in shards, so it cannot be streamed: leave out --order.")
    if labels is not None and not requires.unlabelled:
        if given.order == "streamed":
            raise ConfigError("--order streamed cannot leave out samples; leave it out for this method.")
        left = int((labels < 0).sum())
        why = f"{left} samples without a label are left out: the method learns from labels alone"
        return Labelled(labels, batch_size, seed), [Choice("order", "labelled samples", why)] if left else []
    if shards is None or given.order == "shuffled":
        return Order(len(source), batch_size, seed), []
    large = shards.size > available_memory() / 2
    if given.order is None and not large:
        return Order(len(source), batch_size, seed), []
    streamed = Streamed(shards.numbers, batch_size, seed, buffer=given.shuffle_buffer)
    why = f"its shards ({shards.size / 1e9:.1f} GB) do not fit into half of the free memory"
    return streamed, [] if given.order else [Choice("order", "streamed", why)]


def positives(given: Data, source: Source, seed: int) -> tuple[Positives | None, list[Choice]]:
    """Where the odd views of a batch come from; None for the samples themselves. Raises ConfigError."""
    groups = source.groups
    grouped = groups is not None and len(np.unique(groups)) < len(groups)
    kind, choices = given.positives, list[Choice]()
    if kind is None:
        kind = "pair" if source.positives is not None else "group" if grouped else "views"
        why = {"pair": "the data has a column `positive`", "group": "the data has a column `group`"}
        choices = [Choice("positives", kind, why[kind])] if kind in why else []
    if kind == "pair":
        if source.positives is None:
            raise ConfigError(f"{source.name!r} has no column `positive`: leave out --positives pair.")
        return Given(source), choices
    if kind == "group":
        if not grouped:
            raise ConfigError(f"{source.name!r} has no two samples of one group: leave out --positives group.")
        return OfGroup(source, seed), choices
    return None, choices


def negatives(
    positives: Positives | None, source: Source, requires: Requirements
) -> tuple[Positives | None, list[Choice]]:
    """The positives, and with them the negatives that the data names, where it does and the method wants them."""
    if not requires.negatives or source.negatives is None:
        return positives, []
    return Against(source, positives), [Choice("negatives", "given", "the data has a column `negative`")]


def settled(given: Data, order: Order, positives: Positives | None) -> Data:
    """The options with what was chosen for those not given."""
    kind: Literal["views", "group", "pair"] = "views"
    if positives is not None:
        kind = "group" if isinstance(positives, OfGroup) else "pair"
    return replace(given, positives=kind, order="streamed" if isinstance(order, Streamed) else "shuffled")
