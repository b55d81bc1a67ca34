"""What the loss may know of a step's samples, which lie on all ranks: ids, labels, groups, and who has a negative."""

from typing import Any

import numpy as np
import torch

from nearfar.contract import Batch, Requirements, Rows, Source
from nearfar.training.positives import Paired, Shown
from nearfar.training.ranks import Ranks, Shares


class Batches:
    """Makes the `Batch` of each step; `labels` [N] are those that the method may learn from, None for none."""

    def __init__(
        self, source: Source, labels: Rows | None, requires: Requirements, ranks: Ranks, device: torch.device
    ) -> None:
        groups = source.groups
        self._source, self._requires, self._ranks, self._device = source, requires, ranks, device
        self._labels = None if labels is None else torch.from_numpy(labels)
        self._groups = None if groups is None else torch.from_numpy(groups)
        log_q = source.log_q
        self._log_q = None if log_q is None else torch.from_numpy(log_q)
        view_ids = source.view_ids
        self._view_ids = None if view_ids is None else torch.from_numpy(view_ids)
        self._weights = None if source.weights is None else torch.from_numpy(source.weights)
        self._scores = None if source.scores is None else torch.from_numpy(source.scores)
        self._targets = source.targets if requires.targets else None

    def of(self, raw: Any, rows: Rows, shares: Shares, progress: float) -> Batch:
        """The batch of which this rank holds `rows`, as the raw batch `raw`, and each rank what `shares` say."""
        device, requires = self._device, self._requires
        at = shares.gather(torch.from_numpy(rows))
        shown = self._shown(raw, rows, shares)
        present = negative_ids = None
        if shown.negative_ids is not None:
            present = torch.ones(requires.wide + 1 + requires.small, len(at), dtype=torch.bool)
            present[requires.wide] = torch.from_numpy(shown.negative_ids != shown.ids)
            present, negative_ids = present.to(device), torch.from_numpy(shown.negative_ids).to(device)
        labels = torch.full((len(at),), -1) if self._labels is None else self._labels[at]
        return Batch(
            ids=torch.from_numpy(shown.ids).to(device),
            labels=labels.to(device),
            groups=None if self._groups is None else self._groups[at].to(device),
            scores=None if self._scores is None else self._scores[at].to(device),
            log_q=None if self._log_q is None else self._log_q[:, at].to(device),
            view_ids=None if self._view_ids is None else self._view_ids[:, at].to(device),
            weights=None if self._weights is None else self._weights[at].to(device),
            targets=None if self._targets is None else self._targets[at].to(device),
            present=present,
            negative_ids=negative_ids,
            rows=shares.rows,
            world=self._ranks.world,
            progress=progress,
        )

    def _shown(self, raw: Any, rows: Rows, shares: Shares) -> Shown:
        """What all ranks' samples show."""
        own = raw.shown if isinstance(raw, Paired) else Shown(self._source.ids[rows])
        if self._ranks.world == 1:
            return own
        there = [name for name, value in vars(own).items() if value is not None]
        there = self._ranks.broadcast(there, by=next(rank for rank, count in enumerate(shares.counts) if count))
        values = [getattr(own, name) if len(rows) else rows for name in there]
        table = shares.gather(torch.from_numpy(np.stack(values, axis=1).astype(np.int64)))
        return Shown(**dict(zip(there, table.numpy().T, strict=True)))
