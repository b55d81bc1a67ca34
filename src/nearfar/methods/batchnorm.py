"""Batch norm and contrast: which samples share statistics, and what they give away.

A batch-normalised embedding depends on all samples that passed with it. Three questions follow, answered here.

Shuffling: where a query must find its key among keys of *other* batches, as in a queue, the statistics of its own batch
are a signature: only the right key carries it, and the task is solved without looking at the sample. He et al.
("Momentum contrast", 2020, section 3.3) let each device normalise its own small batch, and draw anew which samples meet
on a device for the keys. `in_groups` does that on one device, and on each of several. Where all candidates come
from one batch (SimCLR, MoCo v3, NNCLR) they carry one signature, and there is nothing to shuffle.

Views: those of one call of the encoder share statistics; `in_groups` takes each view by itself.

Synchronising: over several devices each normalises its own share of the batch. Statistics of the whole batch are
wanted where candidates come from all devices and few samples lie on each: `--sync-norm` gives them; a method whose keys
are shuffled must not have them, as they would undo it. Losses that are statistics themselves (Barlow Twins, VICReg) are
computed over all ranks in any case.

Pieces: a batch that is embedded in micro-batches has the statistics of each of them, as on that many devices; running
statistics move once a step, by the mean of theirs.
"""

import torch
from torch import Tensor

from nearfar.contract import Encoder, Views


def in_groups(encoder: Encoder, views: Views, size: int = 0, *, shuffled: bool = False) -> Tensor:
    """Features `[v b dim]`, each view by itself in groups of at least `size` samples with their own batch statistics.

    Groups are as equal as can be, runs of the batch or, `shuffled`, drawn for each view from torch's generator, which
    the frame seeds at every step. `size` 0, fewer than twice `size` samples, and an encoder that cannot be split make
    one group. He et al., 2020, section 3.3. Running statistics take in each group.
    """
    b = views.samples
    count = max(1, b // size) if size and encoder.splits else 1
    found = []
    for number in range(len(views)):
        view = views[number : number + 1]
        if count == 1:
            found.append(encoder(view))
            continue
        members = torch.randperm(b) if shuffled else torch.arange(b)
        groups = torch.cat([encoder(view.take(at)) for at in members.tensor_split(count)], dim=1)  # [1 b dim]
        found.append(groups[:, members.argsort()])
    return torch.cat(found)
