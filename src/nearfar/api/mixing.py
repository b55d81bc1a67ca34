"""The weights that a run ends with: never worse, as far as can be told, than those it began with.

Wortsman et al., "Robust fine-tuning of zero-shot models", 2022 (WiSE-FT), eq. 1: (1 - share) start + share end.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nearfar.api.baselines import untrained
from nearfar.contract import Encoder, Source
from nearfar.evaluation.cross_validation import cross_validated, told_by_neighbours
from nearfar.evaluation.embedding import embed_source
from nearfar.evaluation.intervals import paired
from nearfar.evaluation.split import stratified_split

if TYPE_CHECKING:
    from nearfar.api.prepare import Ready

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
UNKNOWN = 0.5
"""Where nothing says which is better: half way, as the paper advises where no data can tell."""
_LEAST, _MOST = 40, 2_000  # labelled samples that tell
_LEAST_NEIGHBOURS, _MOST_NEIGHBOURS = 100, 1_200
_log = logging.getLogger("nearfar")


def settle(ready: "Ready", start: Mapping[str, Tensor]) -> str:
    """Set the encoder's weights between `start` and where they are now; returns a sentence on what was chosen.

    The labels of the training part decide by cross-validation, but for those that judge the run; without enough of them
    it is the mean of both. A run that has learnt from labels, scores or pairs that were given keeps what it has learnt.
    """
    plan = ready.plan
    if plan.labels is not None or plan.positives is not None or plan.method.requires.scores:
        return "The weights are those after training, which has learnt from labels, scores or pairs that were given."
    encoder, end = ready.encoder, {name: value.clone() for name, value in ready.encoder.state_dict().items()}
    rows = _labelled(ready)
    if rows is None:
        share, found = UNKNOWN, None
        said = "no labels of the training part can tell which is better"
    else:
        found = _measured(encoder, ready.source.take(rows), start, end, ready.config.machine.seed)
        share = max(found, key=lambda one: found[one])
        start_of, end_of, so = (f"{100 * found[one]:.1f} %" for one in (0.0, 1.0, share))
        accuracies = f"{start_of} right at the start, {end_of} at the end, {so} so"
        said = f"by cross-validation on {len(rows)} labelled training samples: {accuracies}"
    _mix(encoder, start, end, share)
    encoder.config["mixed"] = share
    what = {0.0: "those from the start: training did not help", 1.0: "those after training"}
    mixed = f"{100 * share:.0f} % those after training and {100 * (1 - share):.0f} % those from the start"
    text = f"The weights are {what.get(share, mixed)}; {said}."
    _log.info("%s", text)
    return text


def not_behind(ready: "Ready", run: Path) -> str | None:
    """Put the encoder back to where it began where training has made it worse; returns a sentence where it has.

    That is where the nearest neighbours of the labelled samples of the training part tell their classes worse, by more
    than chance; those that judge the run do not count. `run` is the run's folder.
    """
    rows = _labelled(ready, _MOST_NEIGHBOURS)
    if rows is None or len(rows) < _LEAST_NEIGHBOURS:
        return None
    whiten, source = ready.config.model.whiten and ready.encoder.whitens, ready.source.take(rows)
    start = untrained(ready.encoder, ready.source, run)
    before, after = (told_by_neighbours(one, source, whiten=whiten) for one in (start, ready.encoder))
    if len(before) != len(after) or paired(before, after, seed=ready.config.machine.seed).outcome != "ahead":
        return None
    ready.encoder.load_state_dict(start.state_dict())
    text = (
        f"The weights are those from the start: of {len(after)} labelled training samples, nearest neighbours told "
        f"{100 * float(before.mean()):.1f} % right with them, and {100 * float(after.mean()):.1f} % after training. "
        "Train longer, or try other views."
    )
    _log.warning("%s", text)
    return text


def _labelled(ready: "Ready", most: int = _MOST) -> np.ndarray | None:
    """Rows of the training part whose labels may decide, evenly taken of all classes; None where there are too few."""
    labels = ready.source.labels
    if labels is None:
        return None
    labels = labels.copy()
    if ready.judges.held_out is not None:
        labels[ready.judges.held_out] = -1
    names, sizes = np.unique(labels[labels >= 0], return_counts=True)
    if len(names) < 2 or sizes.sum() < _LEAST or np.median(sizes) < 4:
        return None
    if sizes.sum() > most:
        return stratified_split(torch.from_numpy(labels), share=most / sizes.sum())[1].numpy()
    rows: np.ndarray = np.flatnonzero(labels >= 0)
    return rows


def _measured(
    encoder: Encoder, source: Source, start: Mapping[str, Tensor], end: Mapping[str, Tensor], seed: int
) -> dict[float, float]:
    """The accuracy of each share."""
    found = {}
    for share in SHARES:
        _mix(encoder, start, end, share)
        vectors, kept = embed_source(encoder, source, show=False)
        some = source.take(kept)
        assert some.labels is not None
        groups = None if some.groups is None else torch.from_numpy(some.groups)
        found[share] = cross_validated(vectors, torch.from_numpy(some.labels), groups=groups, seed=seed)
    return found


@torch.no_grad()
def _mix(encoder: Encoder, start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> None:
    """Weights and running statistics at the share of the way from start to end."""
    for name, value in encoder.state_dict().items():
        first, last = start[name].to(value.device), end[name]
        mixed = torch.lerp(first, last, share) if value.is_floating_point() else (last if share else first)
        value.copy_(first if share == 0 else last if share == 1 else mixed)
