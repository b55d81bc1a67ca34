"""How far an explanation can be believed: does the cosine follow what it says matters?

Deletion takes the parts of a sample away, those first that are said to matter most, and insertion brings them back in
that order; the mean of the cosine on the way says how well the order is chosen (Petsiuk et al., "RISE", 2018, section
4.3). Beside it stand orders that know nothing of the encoder.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar import randomness
from nearfar.contract import Encoder, Parts
from nearfar.inspection.explain.occlusion import cosines_of

STEPS = 16
_DRAWS = 5
RANDOM, POSITION = "random", "position"


@dataclass(frozen=True)
class Faithfulness:
    """Means of the cosine while parts are taken away, most important first (`deletion`: low is good), and while they
    are brought back in the same order (`insertion`: high is good)."""

    deletion: float
    insertion: float

    @property
    def gap(self) -> float:
        """Insertion less deletion: 0 for an order that knows nothing."""
        return self.insertion - self.deletion


def follow(encoder: Encoder, parts: Parts, other: Tensor, heat: Sequence[float] | NDArray[np.float32]) -> Faithfulness:
    """How the cosine with `other` [dim] follows the order of `heat` [P], largest first, in at most `STEPS` steps."""
    count = len(parts)
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(-np.asarray(heat), kind="stable")] = np.arange(count)
    at = torch.from_numpy(np.unique(np.linspace(0, count, min(count, STEPS) + 1).round().astype(np.int64)))
    kept = torch.from_numpy(rank) >= at[:, None]  # [steps + 1, P]
    found = cosines_of(encoder, parts, torch.cat([kept, ~kept]), other)
    return Faithfulness(*(float(torch.trapezoid(curve, at / count)) for curve in found.chunk(2)))


def by_position(parts: Parts) -> NDArray[np.float32]:
    """Heat that falls from the middle of a grid outwards, and from the first to the last of a list."""
    if parts.grid is None:
        return -np.arange(len(parts), dtype=np.float32)
    axes = [np.arange(size, dtype=np.float32) - (size - 1) / 2 for size in parts.grid]
    return np.asarray(-np.hypot(*np.meshgrid(*axes, indexing="ij")).ravel(), dtype=np.float32)


@torch.no_grad()
def measure(
    encoder: Encoder,
    parts: Sequence[Parts],
    vectors: Sequence[Tensor],
    heat: Sequence[Mapping[str, NDArray[np.float32]]],
    *,
    seed: int = 0,
) -> dict[str, Faithfulness]:
    """Of two samples, how faithful the methods of both sides are, and the orders that know nothing, by name.

    Figures are the means over both samples; those of the random order over five draws, too.
    """
    methods: dict[str, Callable[[int], list[NDArray[np.float32]]]] = {
        name: lambda i, name=name: [heat[i][name]]  # type: ignore[misc]
        for name in heat[0]
        if name in heat[1]
    }
    methods[POSITION] = lambda i: [by_position(parts[i])]
    methods[RANDOM] = lambda i: list(randomness.uniform(seed, "explain", np.arange(_DRAWS), len(parts[i]), view=i))
    found = {}
    for name, orders in methods.items():
        sides = [
            [follow(encoder, parts[i], vectors[1 - i], order) for order in orders(i)]
            for i in range(2)
            if len(parts[i]) > 1
        ]
        if sides:
            deletion = float(np.mean([[one.deletion for one in side] for side in sides]))
            found[name] = Faithfulness(deletion, float(np.mean([[one.insertion for one in side] for side in sides])))
    return found
