"""The area under the ROC curve, with its error and the error of a difference on the same samples.

DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating characteristic
curves" (1988): each sample's placement among those of the other class says what it adds to the area.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from nearfar.evaluation.intervals import CROSSED, DELONG, Interval, normal
from nearfar.evaluation.task import Row


def placements(scores: Tensor, positive: Tensor) -> Tensor:
    """Share of the samples of the other class that each sample `[M]` stands on the right side of, ties by half.

    The mean over the positive ones is the area, and so is that over the others.
    """
    x, found = scores.detach().double().cpu(), torch.empty(len(scores), dtype=torch.float64)
    above, below = x[positive], x[~positive]
    for own, other, sign in ((positive, below, 1.0), (~positive, above, -1.0)):
        ordered = (sign * other).sort().values
        low = torch.searchsorted(ordered, sign * x[own], side="left")
        high = torch.searchsorted(ordered, sign * x[own], side="right")
        found[own] = (low + high).double() / 2 / max(len(other), 1)
    return found


def auc_rows(task: str, setting: Mapping[str, str | int], scores: Mapping[str, Tensor], labels: Tensor) -> list[Row]:
    """Rows of ROC AUC for scores `[M]` of the second class by each system, or `[R, M]` of several label draws.

    Empty where a class has fewer than two test samples.
    """
    positive = labels.cpu() == 1
    sizes = int(positive.sum()), int((~positive).sum())
    if min(sizes) < 2:
        return []
    weight = torch.where(positive, 0.5 / sizes[0], 0.5 / sizes[1]).double()
    tables = {
        name: torch.stack([placements(one, positive) for one in (x if x.ndim == 2 else x[None])])
        for name, x in scores.items()
    }
    last = list(tables.values())[-1]
    rows = []
    for name, table in tables.items():
        lead = None if table is last else last - table
        by_sample = (table if lead is None else lead).mean(dim=0)
        # A sample moves the area by its placement, less the mean of its class, over the size of that.
        centred = by_sample - torch.where(positive, by_sample[positive].mean(), by_sample[~positive].mean())
        rows.append(
            Row(
                name,
                task,
                "ROC AUC",
                setting,
                _interval(table, weight, positive),
                None if lead is None else _interval(lead, weight, positive),
                chance=0.5,
                influence=2 * weight * centred,
                by_draw=table @ weight if len(table) > 1 else None,
            )
        )
    return rows


def _interval(table: Tensor, weight: Tensor, positive: Tensor) -> Interval:
    """The mean area of `[R, M]` placements, or of differences of them: over samples, and over draws where R > 1."""
    areas = table @ weight
    by_sample = table.mean(dim=0)
    variance = sum(float(by_sample[own].var()) / int(own.sum()) for own in (positive, ~positive))
    draws = len(areas)
    if draws == 1:
        return normal(float(areas[0]), variance**0.5, DELONG, len(positive))
    spread = float(areas.var()) / draws
    return normal(float(areas.mean()), (variance + spread) ** 0.5, CROSSED, draws, freedom=float(draws - 1))
