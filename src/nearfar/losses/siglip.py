"""SigLIP: each pair of an image and a text is asked by itself whether it belongs together.

Zhai et al., "Sigmoid Loss for Language Image Pre-Training", 2023, eq. 1 and algorithm 1.
https://arxiv.org/abs/2303.15343
"""

import math
from dataclasses import InitVar

import torch
from torch import Tensor, nn

from nearfar.errors import must
from nearfar.kernels import Pairs, Ring, row_softplus, softplus
from nearfar.losses.core.batch import anchored, check_same_shape, group_numbers, part
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Learned, LearnedBias, MeanReduction
from nearfar.losses.core.unit import unit


@objective
def siglip(
    images: Tensor,
    texts: Tensor,
    *,
    scale: Learned = 10.0,
    bias: LearnedBias = -10.0,
    ids: Tensor | None = None,
    rows: slice | None = None,
    ring: Ring | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Sum over all pairs (i, j) of `-log sigmoid(+-(scale s_ij + bias))`, + where i = j, divided by B (not B^2).

    images, texts: [B, D], row i of the same pair, of any length; s cosine. scale (1 / temperature) and bias may be
    learned tensors [], and get their exact gradients.

    ids [B], integers: pairs of equal id are the same thing twice, and are not asked about each other. rows: the images
    whose questions are summed, each against all texts; the mean still divides by B, so that shares of disjoint rows sum
    to the whole. ring: images and texts are this rank's own alone, which are its rows, and ids are those of all ranks
    (`kernels.ring`: all call this together). reduction "none" gives [rows]. Memory is linear in B; `implementation` is
    "auto", "tiled" or "dense".

    Where all embeddings coincide the loss is `softplus(-x) + (B - 1) softplus(x)`, x = scale + bias. Raises DataError
    for shapes that do not agree, ConfigError for options out of range.
    """
    check_same_shape({"images": images, "texts": texts}, ring=ring)
    b, own, here = anchored(rows, len(images), ring)
    if ids is None:
        pairs = Pairs(self_column=own.start)
    else:
        groups = group_numbers(ids, b)
        pairs = Pairs(row_groups=groups[own], column_groups=groups)
    u, v = unit(part(images, here)), unit(texts)
    negatives = row_softplus(u, v, scale=scale, bias=bias, pairs=pairs, implementation=implementation, ring=ring)
    positives = (u * part(v, here)).sum(-1) * scale + bias
    return reduce(negatives + softplus(-positives), reduction, b)


class SigLIPLoss(LossModule, of=siglip):
    """`siglip` with its learned scale and bias: `log_scale` starts at log 10 and `bias` at -10, as in the paper."""

    initial_scale: InitVar[float] = 10.0
    initial_bias: InitVar[float] = -10.0

    def __post_init__(self, initial_scale: float, initial_bias: float) -> None:
        """Make the parameters."""
        must(0 < initial_scale < math.inf, "initial_scale must be > 0", got=initial_scale)
        self.log_scale = nn.Parameter(torch.tensor(math.log(initial_scale)))
        self.bias = nn.Parameter(torch.tensor(float(initial_bias)))

    def forward(self, images: Tensor, texts: Tensor, *, ids: Tensor | None = None) -> Tensor:
        """The loss of images and texts [B, D], row i of the same pair."""
        return self.compute(images, texts, scale=self.log_scale.exp(), bias=self.bias, ids=ids)
