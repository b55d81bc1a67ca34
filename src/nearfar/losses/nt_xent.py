"""NT-Xent: each view of a sample must find the sample's other views among all views of the batch.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020, eq. 1.
https://arxiv.org/abs/2002.05709
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY

import torch
from torch import Tensor

from nearfar.errors import ConfigError
from nearfar.kernels import Ring
from nearfar.losses.core.gather import of_all_processes, processes
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Learned, MeanReduction
from nearfar.losses.core.views import Anchors


@objective
def nt_xent(
    z1: Tensor,
    z2: Tensor,
    *more: Tensor,
    temperature: Learned = 0.1,
    ids: Tensor | None = None,
    rows: slice | None = None,
    ring: Ring | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over all v * B views of `LSE_{a != i}(s_ia / t) - mean_p s_ip / t`, s cosine, p the sample's other views.

    Views are [B, D] each, row i of sample i, of any length (a zero row counts as orthogonal to all, and gets gradient
    0); `nt_xent(*z)` takes v views stacked as [v, B, D]. With two views this is eq. 1 of the paper; with more, all
    other views of the sample stand in the denominator and the log is inside the mean (L_out of Khosla et al. 2020,
    2004.11362, with samples as classes).

    ids [B], integers: samples of equal id are the same thing twice, and are no negatives of each other. rows: the
    samples whose anchors are summed; the mean still divides by all v * B, so that shares of disjoint rows sum to the
    whole. ring: views are those of this rank's own samples alone, which are its rows, and ids are those of all ranks
    (`kernels.ring`: all call this together). reduction "none" gives [v, rows]. Memory is linear in B; `implementation`
    is "auto", "dense", "tiled" or "triton", which multiplies views in the half precision that all of them come in
    (`kernels.triton_lse`: its error).

    Where all views coincide the loss is log(vB - 1). Raises DataError for shapes that do not agree, ConfigError for
    options out of range.
    """
    scale = 1 / temperature
    anchors = Anchors.of((z1, z2, *more), ids, rows, ring)
    positives = anchors.positives() * scale  # [rows v v-1]
    if ids is None:
        lse = anchors.others_lse(scale, implementation)  # [rows v]
    else:
        # Equal ids left the kernel's sum together with the sample's own views: those come back.
        lse = anchors.negatives_lse(scale, implementation)
        lse = torch.cat([lse.unsqueeze(-1), positives], dim=-1).logsumexp(-1)
    losses = lse - positives.mean(-1)
    return reduce(losses.T, reduction, anchors.samples * anchors.every.shape[1])


class NTXentLoss(LossModule, of=nt_xent):
    """`nt_xent` as a module: `NTXentLoss(temperature=0.5)(out0, out1)`, or with more views.

    The arguments and their defaults are those of lightly's class of this name. With gather_distributed, samples of all
    processes are negatives. A loss holds no memory bank (`MoCoLoss` takes one that is the caller's).
    """

    temperature: Learned = 0.5
    memory_bank_size: int | Sequence[int] = 0
    gather_distributed: bool = False
    _: KW_ONLY
    reduction: MeanReduction = "mean"

    def __post_init__(self) -> None:
        """Check the settings."""
        self.check_settings()
        refuse_memory_bank(self.memory_bank_size)

    def forward(self, out0: Tensor, out1: Tensor, *more: Tensor, ids: Tensor | None = None) -> Tensor:
        """The loss of views [B, D] each, row i of sample i."""
        if self.gather_distributed and processes() > 1:
            return of_all_processes(self.compute, (out0, out1, *more), ids=ids, reduction=self.reduction)
        return self.compute(out0, out1, *more, ids=ids)


def refuse_memory_bank(size: int | Sequence[int]) -> None:
    """Raise ConfigError unless the size is 0."""
    if size if isinstance(size, int) else size[0]:
        raise ConfigError(
            "memory_bank_size must be 0: a loss holds no memory bank. Keep earlier embeddings of the second view "
            "in a tensor [K, D], call MoCoLoss(temperature)(z1, z2, bank), and put z2 in it after the loss."
        )
