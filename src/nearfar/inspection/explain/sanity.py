"""Does an explanation depend on what the encoder has learnt?

Adebayo et al., "Sanity checks for saliency maps", 2018, section 3: what a method says of a trained encoder is compared
with what it says of the same encoder with random weights. A method that says the same of both shows the input alone.
"""

from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.contract import Encoder
from nearfar.evaluation.correlation import correlations, ranker


@torch.no_grad()
def randomised(encoder: Encoder, seed: int = 0) -> Encoder:
    """A copy whose weights have changed places within each tensor: they keep their sizes, and know nothing."""
    made = deepcopy(encoder)
    generator = torch.Generator().manual_seed(seed)
    for weights in made.parameters():
        order = torch.randperm(weights.numel(), generator=generator).to(weights.device)
        weights.copy_(weights.flatten()[order].view_as(weights))
    return made.eval()


def rank_correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Spearman's correlation of two orders of the same parts; 0 where nothing varies."""
    first, second = (ranker(torch.from_numpy(values)) for values in (one, other))
    return float(correlations(first, second, torch.ones(1, len(one))))
