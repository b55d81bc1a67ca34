"""Negatives that the data gives, for the samples of a batch that have one."""

from typing import NamedTuple

from torch import Tensor

from nearfar.contract import Batch


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
