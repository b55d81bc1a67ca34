"""DirectCLR: NT-Xent of the first dimensions of the features, in the place of a projector.

Jing et al., "Understanding Dimensional Collapse in Contrastive Self-Supervised Learning", 2022, section 6.
https://arxiv.org/abs/2110.09348
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY

from torch import Tensor

from nearfar.losses.core.batch import ShapeError
from nearfar.losses.core.gather import of_all_processes, processes
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.settings import Count, Learned, MeanReduction
from nearfar.losses.nt_xent import nt_xent, refuse_memory_bank


@objective
def direct_clr(
    z1: Tensor,
    z2: Tensor,
    *more: Tensor,
    dims: Count = 64,
    temperature: Learned = 0.1,
    ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """`nt_xent` of the first `dims` dimensions of features [B, ...], flattened; options and errors as there."""
    if z1.dim() < 2:
        raise ShapeError(f"z1 must be features [B, ...], got shape {list(z1.shape)}.")
    return nt_xent(
        *(z.flatten(1)[:, :dims] for z in (z1, z2, *more)), temperature=temperature, ids=ids, rows=rows,
        reduction=reduction, implementation=implementation,
    )  # fmt: skip


class DirectCLRLoss(LossModule, of=direct_clr):
    """`direct_clr` as a module with lightly's values: `DirectCLRLoss(loss_dim=64)(out0, out1)`, as `NTXentLoss`."""

    loss_dim: Count = 64
    temperature: Learned = 0.5
    memory_bank_size: int | Sequence[int] = 0
    gather_distributed: bool = False
    _: KW_ONLY
    reduction: MeanReduction = "mean"

    def __post_init__(self) -> None:
        """Check the settings."""
        self.check_settings()
        refuse_memory_bank(self.memory_bank_size)

    def forward(self, out0: Tensor, out1: Tensor, *, ids: Tensor | None = None) -> Tensor:
        """The loss of features [B, ...] of two views, row i of sample i."""
        if self.gather_distributed and processes() > 1:
            return of_all_processes(self._directly, (out0, out1), ids=ids, reduction=self.reduction)
        return self._directly(out0, out1, ids=ids)

    def _directly(self, *views: Tensor, ids: Tensor | None = None, rows: slice | None = None) -> Tensor:
        return self.compute(*views, dims=self.loss_dim, ids=ids, rows=rows)
