"""DenseCL: whole samples as in SimCLR, and beside it each cell of a map finds its like in the other view.

Wang et al., "Dense contrastive learning for self-supervised visual pre-training", 2021, eq. 1 to 4. The encoder's
coarsest map is averaged to a grid of S x S cells f_s, which a second projector takes to vectors r_s, both by the one
pass that gives the features, too. A cell's positive in the other view is r'_c, c = argmax_j cos(f_s, f'_j) (eq. 4).
Its negatives are the means over the grid of r of other samples. The dense loss is InfoNCE over all cells (eq. 2), and
the whole is (1 - w) global + w dense (eq. 3), w = 0.5.

Differs from the paper: negatives of both losses are the views of the other samples of the batch, as SimCLR has them,
instead of a slow encoder's keys in a queue, so that gradients pass through both views and there is no state to keep;
S is 7 as there, but never more than the map has cells a side; samples of equal content are no negatives.

A cell meets its positive within a sample, so that their similarity is a latent; only means of grids meet those of other
samples.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from nearfar.contract import Batch, Encoder, Latents, Losses, Requirements, Views
from nearfar.kernels import Pairs, row_lse, softplus
from nearfar.losses import nt_xent
from nearfar.losses.core.batch import anchored, group_numbers, part
from nearfar.losses.core.unit import unit
from nearfar.methods.heads import Projected, mlp, together
from nearfar.methods.options import DenseCLOptions


class DenseCL(Projected):
    """An encoder with a projector of its features and one of its coarsest map, under NT-Xent and InfoNCE of cells."""

    Options = DenseCLOptions
    ring: ClassVar[Mapping[str, Any]] = {}
    requires = Requirements(wide=2, maps=True)
    options: DenseCLOptions

    def __init__(self, encoder: Encoder, options: DenseCLOptions | None = None) -> None:
        super().__init__(encoder, options)
        dims = encoder.map_shapes()[-1][0], self.options.projector_hidden, self.options.projector_out
        self.cell_projector = mlp(*dims, norm=False)

    def embed(self, views: Views) -> Latents:
        """`z` [v b d] of whole samples, `cells` [v b s*d] of their s cells, and `matched` [v b s]: how alike each cell
        and its positive are."""
        features, maps = self.encoder.with_map(views)
        grids = torch.stack([grid_of(one, self.options.grid) for one in maps])  # [v b s c]
        cells = self.cell_projector(grids)  # [v b s d]
        with torch.autocast(cells.device.type, enabled=False):
            matched = matches(grids, cells)
        z = together(self.projector, features)
        return Latents(z=z, cells=cells.flatten(2), matched=matched, features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The own rows' share of (1 - w) NT-Xent + w InfoNCE of cells."""
        weight, temperature = self.options.dense_weight, self.options.temperature
        whole = nt_xent(*z["z"], temperature=temperature, ids=batch.ids, rows=batch.rows, ring=batch.ring)
        dense = self._of_cells(z["cells"], z["matched"], batch)
        parts = {"whole_loss": whole.detach(), "dense_loss": dense.detach()}
        return Losses((1 - weight) * whole + weight * dense, parts=parts)

    def _of_cells(self, cells: Tensor, matched: Tensor, batch: Batch) -> Tensor:
        """The own rows' share of the mean over cells of -log e^(p/t) / (e^(p/t) + sum_k e^(n_k/t)), in cosines."""
        samples, own, here = anchored(batch.rows, cells.shape[1], batch.ring)
        v, s, scale = len(cells), matched.shape[-1], 1 / self.options.temperature
        by_cell = cells.view(*cells.shape[:2], s, cells.shape[-1] // s)
        grids = by_cell.transpose(0, 1)  # [b v s d]: own samples are one range of rows
        means = unit(grids.mean(2)).flatten(0, 1)
        ids = group_numbers(batch.ids, samples)
        negatives = row_lse(
            unit(part(grids, here)).flatten(0, 2),
            means,
            scale=scale,
            pairs=Pairs(row_groups=ids[own].repeat_interleave(v * s), column_groups=ids.repeat_interleave(v)),
            ring=None if batch.ring is None else batch.ring.times(v),
        )
        positives = scale * part(matched.transpose(0, 1), here).flatten()
        return softplus(negatives - positives).sum() / (samples * v * s)


def grid_of(maps: Tensor, most: int) -> Tensor:
    """Maps `[b, c, h, w]`, averaged to at most `most` cells a side, as vectors of cells `[b, s, c]`, row after row."""
    sides = min(most, maps.shape[-2]), min(most, maps.shape[-1])
    found = maps if maps.shape[-2:] == sides else adaptive_avg_pool2d(maps, sides)
    return found.flatten(2).mT


def matches(grids: Tensor, cells: Tensor) -> Tensor:
    """Cosines of `cells` [2 b s d] with the cell of the other view whose vector in `grids` [2 b s c] is the nearest to
    their own: [2 b s]."""
    f, r = unit(grids.detach()), unit(cells)
    found = []
    for one, other in ((0, 1), (1, 0)):
        nearest = (f[one] @ f[other].mT).argmax(-1)  # [b s]
        keys = r[other].gather(1, nearest[..., None].expand_as(r[other]))
        found.append((r[one] * keys).sum(-1))
    return torch.stack(found)


METHOD = DenseCL
