"""A few pairs of near samples, explained for the page of a run."""

import time
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from nearfar.api.sample import row_of
from nearfar.errors import UserError
from nearfar.inspection.explain.explanation import explain
from nearfar.inspection.projection import sample_evenly
from nearfar.reporting.explained import Explained

if TYPE_CHECKING:
    from nearfar.contract import Encoder, Rows, Source

_PAIRS, _SECONDS, _SAME = 4, 10.0, 0.999
"""At most so many pairs, and no new one after so many seconds; what is nearer than that is the same."""


def explained(encoder: "Encoder", source: "Source", rows: "Rows", near: Tensor, similar: Tensor) -> list[Explained]:
    """Samples spread evenly over those at `rows` [n] of the source, each with its nearest that is not the same.

    `near` and `similar` `[n, k]` are the nearest of each, as places in `rows`, and the cosines. None where the encoder
    does not say what samples are made of.
    """
    found, began = list[Explained](), time.monotonic()
    encoder.eval()
    for at in sample_evenly(len(rows), _PAIRS, 0).tolist():
        other = next((int(j) for j, c in zip(near[at].tolist(), similar[at].tolist(), strict=True) if c < _SAME), None)
        if other is None:
            continue
        pair = np.array([rows[at], rows[other]])
        try:
            why = explain(encoder, *(row_of(encoder, source, int(row)) for row in pair))
        except UserError:
            break
        a, b = source.cards(pair)
        found.append(Explained(a=a, b=b, found=why))
        if time.monotonic() - began > _SECONDS:
            break
    return found
