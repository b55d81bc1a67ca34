"""Is it working? Figures from each batch's own latents, without labels, and alarms with advice."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nearfar import geometry
from nearfar.contract import Latents

_LONG_ENOUGH = 10.0  # seconds
_REPLAYED = 0.05  # what bf16 may make of another order of sums
_ROWS = 256  # more samples than this say little more and cost time


@dataclass(frozen=True)
class Alarm:
    """Something looks wrong: `sentence` says what it is and what to change."""

    step: int
    name: str
    sentence: str


@torch.no_grad()
def figures(z: Latents) -> dict[str, float]:
    """Alignment, uniformity, view retrieval, effective rank and dead dimensions of a batch; see `nearfar.geometry`.

    Alignment, uniformity and view retrieval are of the first latent's two first views, effective rank and dead
    dimensions of the features of the first view.
    """
    found: dict[str, Tensor] = {}
    latent = next(iter(z.values()), None)
    if latent is not None and latent.shape[0] >= 2 and latent.shape[1] >= 2:
        first, second = latent[0, :_ROWS], latent[1, :_ROWS]
        found["alignment"] = geometry.alignment(first, second)
        found["uniformity"] = geometry.uniformity(first)
        found["view_retrieval"] = geometry.view_retrieval(first, second)
    if z.features is not None:
        features = z.features[0, :_ROWS]
        found["dead_dimensions"] = geometry.dead_dimensions(features)
        found["effective_rank"] = geometry.effective_rank(features)
    values = {name: value.item() for name, value in found.items()}
    return {name: value for name, value in values.items() if math.isfinite(value)}


class Watchdog:
    """Looks at the records of a run and raises each alarm once.

    Alarms wait until the run has had time to start. `batch_size` tells what chance alone would find.
    """

    def __init__(self, batch_size: int = _ROWS) -> None:
        self._little = min(0.05, 3 / min(batch_size, _ROWS))
        self.raised: list[Alarm] = []

    def look(self, step: int, progress: float, record: dict[str, Any]) -> list[Alarm]:
        """The alarms that this record raises for the first time."""
        found = [Alarm(step, name, sentence) for name, sentence in self._wrong(progress, record)]
        known = {alarm.name for alarm in self.raised}
        new = [alarm for alarm in found if alarm.name not in known]
        self.raised += new
        return new

    def _wrong(self, progress: float, record: dict[str, Any]) -> list[tuple[str, str]]:
        wrong = []
        rank = record.get("effective_rank")
        if progress > 0.02 and rank is not None and rank < 1.5:
            wrong.append(
                (
                    "collapse",
                    f"The features lie on a line (effective rank {rank:.1f}): the encoder has collapsed. Lower --lr, "
                    "raise --batch-size, and check that the samples are not all alike.",
                )
            )
        dead = record.get("dead_dimensions")
        if progress > 0.02 and dead is not None and dead > 0.5:
            wrong.append(
                (
                    "dead dimensions",
                    f"{dead:.0%} of the features never change: lower --lr or --weight-decay, or take a narrower "
                    "encoder (--width).",
                )
            )
        retrieval = record.get("view_retrieval")
        if progress > 0.2 and retrieval is not None and retrieval < self._little:
            wrong.append(
                (
                    "nothing learned",
                    f"Only {retrieval:.1%} of the samples find their own other view: the views have too little in "
                    "common or the learning rate does not fit. Make the views milder (images: lower --views-strength, "
                    "raise --crop-scale; tables: lower --corruption), or try --lr ten times lower.",
                )
            )
        if progress < 0.3 and retrieval is not None and retrieval > 0.999 and progress > 0.05:
            wrong.append(
                (
                    "too easy",
                    "Every sample already finds its other view: the task teaches nothing more. Make the views harder "
                    "(images: raise --views-strength, lower --crop-scale; tables: raise --corruption).",
                )
            )
        deviation = record.get("replay_deviation")
        if deviation is not None and deviation > _REPLAYED:
            wrong.append(
                (
                    "not replayed",
                    f"A micro-batch came out otherwise, by {deviation:.0%}, when it was embedded again: the encoder "
                    "draws random numbers that torch's seed does not govern, and its gradients are wrong. Take them "
                    "from torch, or give a --micro-batch as large as --batch-size.",
                )
            )
        wait = record.get("data_wait")
        # In a run of seconds nobody minds, and the first fetches say nothing of the later ones.
        if progress > 0.1 and wait is not None and wait > 0.4 and record.get("seconds", math.inf) > _LONG_ENOUGH:
            wrong.append(
                (
                    "waiting for data",
                    f"The encoder waits for its input {wait:.0%} of the time: take a smaller --image-size, more "
                    "--threads, or a faster disk.",
                )
            )
        return wrong
