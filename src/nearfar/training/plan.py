"""All that a run needs, settled and built: what the loop is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch.optim import Optimizer

from nearfar.contract import Method, Requirements, Rows, Source, Views
from nearfar.training.order import Order
from nearfar.training.positives import Positives, views_of
from nearfar.training.ranks import ALONE, Ranks

Probe = Callable[[], dict[str, float]]
"""Measures the encoder as it is: figures by name."""


MakeOptimizer = Callable[[Method], Optimizer]
"""Makes the optimiser of a method's parameters, as the settings have it."""


class MakeViews(Protocol):
    """A modality's `views`, its options given."""

    def __call__(self, raw: Any, draws: Rows, *, requires: Requirements) -> Views:
        """The views of a raw batch, made when first asked for."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a run needs, settled and built."""

    method: Method
    source: Source
    labels: Rows | None = None
    """Class numbers [N] that the method may learn from, -1 for none; None where it learns without."""
    make_views: MakeViews
    order: Order
    positives: Positives | None = None
    optimizer: Optimizer
    lr: float
    warmup: float
    seed: int
    device: torch.device
    ranks: Ranks = ALONE
    ring: bool = False
    """Whether latents stay with their ranks, and only pass by the others in the loss."""
    micro_batch: int | None = None
    clip: float | None = None
    autocast: torch.dtype | None = None
    most_threads: int | None = None
    """Up to how many threads may be tried in turn as other work comes and goes; None: their number stays."""
    record_every: int | None = None
    checkpoint_every: float = 60.0
    probe: Probe | None = None
    probe_every: float = 0.1
    advice: Mapping[str, str] = field(default_factory=dict)
    """What to change for this kind of data, by the name of the alarm."""

    def views(self, raw: Any, rows: Rows, draws: Rows) -> Views:
        """The views of a raw batch of these rows of the source as a step shows them, those of positives among them."""
        shown = raw if self.positives is None else self.positives.beside(raw, rows, draws)
        return views_of(self.make_views, shown, draws, self.method.requires)
