"""What tells short trainings on one data set apart: labels of some training samples, or figures that need none.

`--views auto` and `nearfar tune` ask the same judge. Samples that judge the finished encoder are never asked.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from nearfar import randomness
from nearfar.api import build
from nearfar.api.evaluate import compare_systems
from nearfar.api.systems import measure
from nearfar.config import TrainConfig
from nearfar.contract import Encoder, Modality, Rows, Source
from nearfar.evaluation import unlabelled
from nearfar.evaluation.cross_validation import told_by_neighbours
from nearfar.evaluation.embedding import embed_source
from nearfar.evaluation.embedding import whiten as whiten_encoder
from nearfar.training.plan import Plan
from nearfar.training.positives import views_of

if TYPE_CHECKING:
    from nearfar.api.prepare import Ready

MOST, LEAST = 1_200, 100
"""Labelled samples that are asked, and without so many labels do not judge."""
MOST_VIEWED = 768
_BATCH = 256


@dataclass(frozen=True)
class Score:
    """How good an encoder is found: a number, higher is better."""

    value: float
    each: Tensor | None = None
    """Of labels, whether each sample's neighbours tell its class `[N]`."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Without labels, what the number is made of."""


@dataclass(frozen=True)
class Judge:
    """The samples that are asked, and how: see `by_labels`, `by_part` and `without_labels`."""

    kind: Literal["labels", "part", "views"]
    rows: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    config: TrainConfig | None = None
    """Of the views, where these judge: the same ones for all encoders."""

    @property
    def what(self) -> str:
        """A line on what the number is."""
        if self.kind == "labels":
            return f"share of {len(self.rows)} labelled training samples whose class their 20 nearest others tell"
        if self.kind == "part":
            return "mean of the figures by which such data is judged, on a held-out fifth of the training part"
        return f"figures without labels of {len(self.rows)} training samples and two views of each, combined"


def by_labels(source: Source, left_out: Rows | None) -> Judge | None:
    """The classes of labelled samples of the training part but for those `left_out`; None where there are too few.

    Each is told by its nearest others (kNN, each left out once).
    """
    labels = source.labels
    if labels is None:
        return None
    rows = np.flatnonzero(labels >= 0)
    rows = rows if left_out is None else np.setdiff1d(rows, left_out)
    if len(rows) > MOST:  # at random: every so many would be of one class where classes take turns
        rows = np.sort(rows[randomness.permutation(0, "judge", 0, len(rows))[:MOST]])
    return Judge("labels", rows) if len(rows) >= LEAST and len(np.unique(labels[rows])) > 1 else None


def without_labels(source: Source, config: TrainConfig) -> Judge:
    """Figures of vectors of samples, and of two views of each as `config` makes them."""
    rows = np.arange(len(source))
    return Judge("views", rows[:: max(1, -(-len(rows) // MOST_VIEWED))], config)


def of(ready: "Ready", but: Rows | None = None) -> Judge:
    """What can judge short trainings of a run's kind, the first of: labels, a held-out part, views.

    A run that is prepared with `inner` has that part. Samples that judge the finished encoder are not asked, nor those
    of `but`.
    """
    left_out = [rows for rows in (ready.judges.held_out, but) if rows is not None]
    if ready.plan.labels is not None:  # those that the method has seen tell nothing
        left_out.append(np.flatnonzero(ready.plan.labels >= 0))
    found = by_labels(ready.source, np.concatenate(left_out) if left_out else None)
    if found is not None:
        return found
    if ready.source.labels is None and ready.judges.test is not None:
        return Judge("part")
    return without_labels(ready.source, ready.config)


def ask(judge: Judge, ready: "Ready") -> Score | None:
    """How good a run's encoder is as it stands; None where samples cannot be read again."""
    encoder, whiten = ready.encoder, bool(ready.config.model.whiten) and ready.encoder.whitens
    if judge.kind == "labels":
        return told(judge, encoder, ready.plan.source, whiten=whiten)
    if judge.kind == "part":
        return _by_part(ready)
    found = figures_of(judge, encoder, ready.modality, ready.plan, whiten=whiten)
    return None if found is None else Score(unlabelled.combined(found), figures=found)


def told(judge: Judge, encoder: Encoder, source: Source, *, whiten: bool) -> Score | None:
    """The share of the samples of a judge by labels that is told rightly; None where one cannot be read again."""
    right = told_by_neighbours(encoder, source.take(judge.rows), whiten=whiten)
    return Score(float(right.mean()), right) if len(right) == len(judge.rows) else None


def _by_part(ready: "Ready") -> Score | None:
    """The mean of the judged figures of the finished encoder on what is held out of the training part."""
    encoder = copy.deepcopy(ready.encoder).eval()
    if ready.config.model.whiten and encoder.whitens:
        whiten_encoder(encoder, ready.source, show=False)
    measured = measure(encoder, ready.source, ready.judges, seed=ready.config.machine.seed, baselines=False)
    rows = compare_systems(measured, seed=ready.config.machine.seed).rows
    found = [row.value.mean for row in rows if row.role == "judged" and row.higher_is_better]
    found = [value for value in found if math.isfinite(value)]
    return Score(sum(found) / len(found)) if found else None


@torch.no_grad()
def figures_of(
    judge: Judge, encoder: Encoder, modality: Modality, plan: Plan, *, whiten: bool
) -> dict[str, float] | None:
    """The figures of an encoder without labels; None where fewer than two samples can be read."""
    assert judge.config is not None
    make = build.views(judge.config, modality, encoder)
    was_training, pairs = encoder.training, list[Tensor]()
    encoder.eval()
    try:
        for start in range(0, len(judge.rows), _BATCH):
            raw, kept = plan.source.fetch(judge.rows[start : start + _BATCH])
            if len(kept):
                shown = raw if plan.positives is None else plan.positives.beside(raw, kept, kept)
                views = views_of(make, shown, kept, plan.method.requires)
                pairs.append(torch.stack([encoder.vectors(views[number]).float().cpu() for number in (0, 1)]))
    finally:
        encoder.train(was_training)
    vectors, _ = embed_source(encoder, plan.source.take(judge.rows), show=False)
    if not pairs or len(vectors) < 2:
        return None
    first, second = torch.cat(pairs, dim=1)
    return unlabelled.figures(vectors, first, second, whiten=whiten, seed=plan.seed)
