"""Negatives drawn evenly over distance, where drawing evenly over samples gives nearly orthogonal ones alone.

Wu et al., "Sampling Matters in Deep Embedding Learning", 2017, section 4. https://arxiv.org/abs/1706.07567
"""

from typing import Annotated

import torch
from torch import Tensor

from nearfar.kernels import row_blocks
from nearfar.losses.core.distance import block_distances, centred, wide_dtype
from nearfar.losses.core.labelled import compare
from nearfar.losses.core.objective import checked
from nearfar.losses.core.settings import Number, Positive
from nearfar.losses.core.unit import unit

Cutoff = Annotated[float, Number("must lie in 0..2", lambda x: 0 < x < 2)]

_LEAST = 1e-8  # of 1 - d^2 / 4, which is 0 for opposite points


@torch.no_grad()
@checked
def distance_weighted_triplets(
    z: Tensor,
    *,
    labels: Tensor,
    cutoff: Cutoff = 0.5,
    farthest: Positive = 1.4,
    generator: torch.Generator | None = None,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    offset: int | None = None,
    longest: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """For every positive pair one negative, drawn with weight 1 / q(d), as (a, p, n): [M, D], labels [M] -> three [K].

    q(d) ~ d^(D-2) (1 - d^2 / 4)^((D-3)/2) is how often distance d occurs between points spread evenly on the sphere.
    Distances below `cutoff` weigh as the cutoff does, which bounds the weights; negatives at `farthest` or beyond,
    whose loss is 0 anyway, are not drawn, and anchors that have no others give no triplets. Weights are compared as
    logarithms, so that no D and no distance overflows. Draws come from `generator` (None: torch's own), one number a
    positive pair, whatever the blocks.
    """
    found = compare(z, labels, reference, reference_labels, offset, None, unit)
    anchors, columns = centred(found.anchors, found.columns, "euclidean")
    m, n = len(anchors), len(columns)
    wide = wide_dtype(z)
    drawn_on = z.device if generator is None else generator.device
    number = int(found.counts()[0].sum())
    draws = torch.rand(number, generator=generator, device=drawn_on, dtype=wide).to(z.device)
    parts, used = [], 0
    for at in row_blocks(m, n, longest=longest):
        d = block_distances(anchors[at], columns, "euclidean")
        positive, negative = found.masks(at)
        weights = log_weights(d.to(wide), z.shape[1], cutoff)
        weights.masked_fill_(~negative | (d >= farthest), -torch.inf)
        some = weights.amax(1) > -torch.inf
        sums = (weights - weights.amax(1, keepdim=True)).exp_().cumsum(1)  # [r N]
        row, p = positive.nonzero(as_tuple=True)
        aims = draws[used : used + len(row), None]
        used += len(row)
        row, p, aims = row[some[row]], p[some[row]], aims[some[row]]
        for k in row_blocks(len(row), n):
            line = sums[row[k]]
            # The first column whose running sum passes the aim has a weight; rounding must not pass the last of them.
            far = torch.searchsorted(line, aims[k] * line[:, -1:], right=True)
            last = torch.searchsorted(line, line[:, -1:].contiguous())
            parts.append(torch.stack([at.start + row[k], p[k], torch.minimum(far, last).squeeze(1)]))
    a, p, far = torch.cat(parts, 1) if parts else torch.zeros(3, 0, dtype=torch.long, device=z.device)
    return a, p, far


def log_weights(d: Tensor, dim: int, cutoff: float) -> Tensor:
    """-log q of distances, those below the cutoff taken as the cutoff."""
    d = d.clamp(min=cutoff)
    return -(dim - 2) * d.log() - (dim - 3) / 2 * (1 - d.square() / 4).clamp(min=_LEAST).log()
