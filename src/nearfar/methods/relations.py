"""Which samples of a batch belong together, and the negatives that the data gives for them."""

from typing import NamedTuple

import torch
from torch import Tensor

from nearfar.contract import Batch


def share(losses: Tensor, batch: Batch) -> Tensor:
    """This rank's share of the mean over all n samples of the losses [rows] of its own, each times its weight."""
    weighted = losses if batch.weights is None else losses * batch.weights[batch.rows].to(losses.dtype)
    return weighted.sum() / len(batch.ids)


class Classes(NamedTuple):
    """The m samples of a batch that are compared: their places `at` [m], and names [m] that are equal for positives.

    `rows` are this rank's own among them.
    """

    at: Tensor
    names: Tensor
    rows: slice

    @classmethod
    def of(cls, batch: Batch, *, supervised: bool) -> "Classes":
        """The labelled samples by their labels, or, where not `supervised`, all samples by their ids.

        Samples of equal id are one thing, and so of one class: the lowest of theirs.
        """
        start, stop, _ = batch.rows.indices(len(batch.ids))
        if not supervised:
            return cls(torch.arange(len(batch.ids), device=batch.ids.device), batch.ids, slice(start, stop))
        labelled = batch.labels >= 0
        own = slice(int(labelled[:start].sum()), int(labelled[:stop].sum()))
        at = labelled.nonzero()[:, 0]
        things, thing = torch.unique(batch.ids[at], return_inverse=True)
        lowest = batch.labels.new_zeros(len(things)).scatter_reduce(
            0, thing, batch.labels[at], "amin", include_self=False
        )
        return cls(at, lowest[thing], own)

    def flat(self, z: Tensor) -> tuple[Tensor, Tensor, slice]:
        """Views z [v n d] as [m v, d], sample by sample, with the names [m v] and the own rows of these."""
        v = len(z)
        rows = slice(self.rows.start * v, self.rows.stop * v)
        return z[:, self.at].transpose(0, 1).flatten(0, 1), self.names.repeat_interleave(v), rows


class Given(NamedTuple):
    """The m samples that have a negative, `at` [m]: its latent z [m d], and `ids` [m] of what it shows.

    `rows` are this rank's own among them.
    """

    at: Tensor
    z: Tensor
    ids: Tensor
    rows: slice


def given_negatives(z: Tensor, batch: Batch) -> Given | None:
    """The third of the views z [v n d] of the samples that have a negative; None where none has."""
    if batch.present is None or batch.negative_ids is None:
        return None
    has = batch.present[2]
    at = has.nonzero()[:, 0]
    if not len(at):
        return None
    start, stop, _ = batch.rows.indices(len(has))
    return Given(at, z[2, at], batch.negative_ids[at], slice(int(has[:start].sum()), int(has[:stop].sum())))
