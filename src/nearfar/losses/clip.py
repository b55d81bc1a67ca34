"""CLIP: images and texts must find each other, InfoNCE in both directions with a learned scale.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021, figure 3.
https://arxiv.org/abs/2103.00020
"""

import math
from dataclasses import KW_ONLY, InitVar

import torch
from torch import Tensor, nn

from nearfar.errors import must
from nearfar.kernels import Ring
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.settings import Learned, MeanReduction, Positive
from nearfar.losses.info_nce import info_nce


@objective
def clip(
    images: Tensor,
    texts: Tensor,
    *,
    scale: Learned,
    ids: Tensor | None = None,
    log_q: Tensor | None = None,
    rows: slice | None = None,
    ring: Ring | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Symmetric InfoNCE with similarities multiplied by `scale` (1 / temperature), which may be a learned tensor.

    Shapes and options as in `info_nce`; `scale` gets its exact gradient.
    """
    return info_nce(
        images, texts, temperature=1 / scale, symmetric=True, ids=ids, log_q=log_q, rows=rows, ring=ring,
        reduction=reduction, implementation=implementation,
    )  # fmt: skip


class CLIPLoss(LossModule, of=clip):
    """`clip` with its learned scale: the parameter `log_scale` starts at log(1 / 0.07) and is held at log 100."""

    initial_scale: InitVar[float] = 1 / 0.07
    _: KW_ONLY
    largest_scale: Positive = 100.0

    def __post_init__(self, initial_scale: float) -> None:
        """Make the parameter."""
        self.check_settings()
        must(0 < initial_scale <= self.largest_scale, "initial_scale must lie in 0..largest_scale", got=initial_scale)
        self.log_scale = nn.Parameter(torch.tensor(math.log(initial_scale)))

    def forward(self, images: Tensor, texts: Tensor, *, ids: Tensor | None = None) -> Tensor:
        """The loss of images and texts [B, D], row i of the same pair."""
        with torch.no_grad():  # the parameter itself is held: a clamp of its exp would cut the gradient for good
            self.log_scale.clamp_(max=math.log(self.largest_scale))
        return self.compute(images, texts, scale=self.log_scale.exp(), ids=ids)
