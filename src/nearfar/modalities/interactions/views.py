"""The two sides of interactions as views: those of even numbers show the user, those of odd numbers the item.

A view of a user forgets some of what was had: which, is a function of (seed, draw, view).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nearfar import randomness
from nearfar.contract import Requirements, Views
from nearfar.modalities.interactions.source import NONE

if TYPE_CHECKING:
    from nearfar.contract import Inputs, Rows
    from nearfar.modalities.interactions.encoder import InteractionEncoder


def make_views(
    raw: Mapping[str, Tensor],
    draws: Rows,
    *,
    requires: Requirements,
    seed: int,
    forget: float,
    encoder: InteractionEncoder,
) -> Views:
    """Views as the encoder's inputs."""

    def make(view: int, start: int, stop: int) -> Inputs:
        some = {name: values[start:stop] for name, values in raw.items()}
        if view % 2:
            return encoder.side(some, "item")
        history = some["history"]
        numbers = randomness.uniform(seed, "forgotten", draws[start:stop], history.shape[1], view)
        some["history"] = packed(history.masked_fill(torch.from_numpy(numbers) < forget, NONE))
        return encoder.side(some, "user")

    return Views(make, range(requires.wide + requires.small), 0, len(draws), requires.wide)


def packed(history: Tensor) -> Tensor:
    """Histories `[b, L]` with what is left in its order at the front."""
    return history.gather(1, (history < 0).to(torch.uint8).argsort(dim=1, stable=True))
