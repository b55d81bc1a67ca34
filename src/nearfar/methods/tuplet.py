"""Tuplet: an anchor finds its positive among negatives of its own, by the cross-entropy of a softmax over them.

Sohn, "Improved deep metric learning with multi-class N-pair loss objective", 2016, eq. 6, of
z = projector(encoder(view)): -log(e^(s_p / t) / (e^(s_p / t) + sum_k e^(s_k / t))), s the cosine with the anchor, k
over the anchor's negatives: the one that the data gives in a column `negative`, and the `--mined` candidates of the
batch (positives of other anchors) that are nearest to the anchor.

Differs from the paper: cosines over a temperature, where it has products; mined negatives; samples of equal content
(`ids`) are not each other's negatives.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.contract import Batch, Latents, Losses, Requirements
from nearfar.kernels.rows import row_blocks
from nearfar.losses import contrastive_cross_entropy
from nearfar.methods.heads import Projected
from nearfar.methods.options import TupletOptions


class Tuplet(Projected):
    """An encoder with a projector, under the contrastive cross-entropy of each anchor's own candidates."""

    Options = TupletOptions
    requires = Requirements(negatives=True)
    options: TupletOptions

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The cross-entropy of the own anchors, their negatives taken from all ranks' candidates."""
        anchors, candidates = z["z"][:2]
        start, stop, _ = batch.rows.indices(len(anchors))
        if start == stop:
            return Losses(z["z"].sum() * 0)
        own = slice(start, stop)
        columns, valid = nearest(anchors[own], candidates, batch.ids, own, self.options.mined)
        negatives = candidates[columns]  # [own mined d]
        if batch.present is not None and len(z["z"]) > 2 and batch.negative_ids is not None:
            negatives = torch.cat([negatives, z["z"][2, own, None]], dim=1)
            given = batch.present[2, own] & (batch.negative_ids[own] != batch.ids[own])
            valid = torch.cat([valid, given[:, None]], dim=1)
        loss = contrastive_cross_entropy(
            anchors[own], candidates[own], negatives, temperature=self.options.temperature, valid=valid, reduction="sum"
        )
        return Losses(loss / len(anchors))


@torch.no_grad()
def nearest(anchors: Tensor, candidates: Tensor, ids: Tensor, own: slice, count: int) -> tuple[Tensor, Tensor]:
    """For each anchor [m d], the rows `own` of the batch, the nearest candidates [n d] of another id.

    Their places [m count'] and whether there is one [m count'], count' being `count`, at most n.
    """
    count = min(count, len(candidates))
    u, v, names = normalize(anchors, dim=-1), normalize(candidates, dim=-1), ids[own]
    found = [anchors.new_empty(0, count, dtype=torch.long)]
    there = [anchors.new_empty(0, count, dtype=torch.bool)]
    for at in row_blocks(len(u), len(v)):
        similarities = (u[at] @ v.T).masked_fill(names[at, None] == ids, -torch.inf)
        best, columns = similarities.topk(count, dim=1)
        found.append(columns)
        there.append(best > -torch.inf)
    return torch.cat(found), torch.cat(there)


METHOD = Tuplet
