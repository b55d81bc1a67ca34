"""Copies and near-copies: samples that must not stand on both sides of a split.

Frames of one film, shots of one product or the same file twice make a test easy that was meant to be hard. What is
near enough to be a copy is told by the embedding itself: around each sample, points thin out with distance as in a
space of some dimension (Levina and Bickel, "Maximum likelihood estimation of intrinsic dimension", 2004), and a
neighbour so near that less than one point in a hundred would be there by chance is taken for a copy.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.evaluation.knn import nearest
from nearfar.evaluation.task import Vectors

LIMIT = 20_000
"""Samples up to which near-copies are looked for: each is compared with each."""
CHANCE = 0.01
_NEIGHBOURS = 50
_LEAST = 8
_EQUAL = 1e-6
"""Squared distances on the unit sphere below this are those of equal vectors in float32."""


@dataclass(frozen=True)
class Copies:
    """Groups of copies `[N]`: equal numbers for samples that are copies of each other, directly or by way of others."""

    groups: NDArray[np.int64]

    @property
    def count(self) -> int:
        """How many samples have a copy."""
        sizes = np.bincount(self.groups)
        return int(sizes[sizes > 1].sum())


def near_copies(vectors: Tensor, *ids: NDArray[np.int64], classes: int = 1) -> Copies:
    """Group embeddings `[N, D]` by near-copies, and by each of `ids` `[N]` where they are equal.

    Near-copies are pairs each of which finds the other too near for chance. Groups up to about a quarter of the samples
    of a class are told from the class itself, so that with fewer than 16 samples a class, or with more than `LIMIT`
    samples, only ids count.
    """
    count = len(vectors)
    # Equal vectors are grouped first: more of them than neighbours are asked for would hide each other.
    rows = np.ascontiguousarray(vectors.detach().cpu().float().numpy())
    _, first, same = np.unique(rows.view(f"V{max(rows.shape[1], 1) * 4}")[:, 0], return_index=True, return_inverse=True)
    pairs = [_equal(one) for one in (*ids, same)]
    k = min(_NEIGHBOURS, len(first) // (2 * max(classes, 1)))
    if k >= _LEAST and count <= LIMIT:
        pairs.append(first[_mutual(*too_near(vectors[torch.from_numpy(first).to(vectors.device)], k), len(first))])
    return Copies(_groups(np.concatenate(pairs), count))


def too_near(vectors: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Which of each sample's k nearest others `[N, k]` are too near for chance, and their rows `[N, k]`."""
    similarities, rows = nearest(vectors, vectors, k, exclude_self=True)
    return beyond_chance(similarities), rows


def beyond_chance(similarities: Tensor) -> Tensor:
    """Which neighbours are nearer than chance puts any: cosines `[M, k]`, best first -> `[M, k]` bool."""
    return (expected_nearer(similarities) < CHANCE) | (_square(similarities) <= _EQUAL)


def expected_nearer(similarities: Tensor) -> Tensor:
    """How many points chance would put as near as each neighbour: cosines `[M, k]`, best first -> `[M, k]`.

    With k neighbours within d, a space of dimension m has k (x / d)^m of them within x. The dimension is the median,
    over samples, of what the farther half of the neighbours shows. Where no sample shows one, all are k.
    """
    k = similarities.shape[1]
    square = _square(similarities)
    far, middle = square[:, -1], square[:, k // 2 - 1]
    apart = (far > middle) & (middle > _EQUAL)
    if not bool(apart.any()):
        return torch.full_like(square, k)
    dimension = float((2 * np.log(k / (k // 2)) / (far[apart] / middle[apart]).log()).median())
    expected: Tensor = k * (square / far.clamp_min(_EQUAL)[:, None]) ** (dimension / 2)
    return expected


def _square(similarities: Tensor) -> Tensor:
    """Squared distances on the unit sphere."""
    return (2 - 2 * similarities.double()).clamp_min(0)


def notes_across(vectors: Vectors, raw: Vectors | None, classes: int) -> list[str]:
    """Say how many test samples are the same as a training sample, and how many so near to one that they may be copies.

    The same are those of equal `raw` vectors, where there are some; near is judged by `vectors`, the encoder's own.
    """
    notes = []
    count = 0 if vectors.test is None else len(vectors.test)
    same = equal_rows(*raw.parts) if raw is not None else torch.zeros(count, dtype=torch.bool)
    if bool(same.any()):
        notes.append(f"{_of(int(same.sum()), count)} test samples are the same as a training sample.")
    k = min(_NEIGHBOURS, len(vectors.train) // (2 * max(classes, 1)))
    if k >= _LEAST:
        near = beyond_chance(vectors.nearest(k)[0]).any(dim=1).cpu() & ~same
        # One in a hundred is near by chance.
        if float(near.double().mean()) > 2 * CHANCE:
            notes.append(
                f"{_of(int(near.sum()), count)} test samples are so near to a training sample, by the encoder's own "
                "measure, that they may be copies of it."
            )
    return notes


def _of(some: int, count: int) -> str:
    return f"{some} of {count} ({100 * some / count:.1f} %)"


def equal_rows(one: Tensor, other: Tensor) -> Tensor:
    """Which rows of `other` `[M, D]` stand in `one` `[N, D]`, equal to the bit: `[M]` bool."""
    known = {row.tobytes() for row in one.detach().cpu().numpy()}
    return torch.tensor([row.tobytes() in known for row in other.detach().cpu().numpy()], dtype=torch.bool)


def _equal(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs that join samples of equal ids."""
    order = np.argsort(ids, kind="stable")
    same = ids[order][1:] == ids[order][:-1]
    return np.stack([order[:-1][same], order[1:][same]], axis=1).astype(np.int64)


def _mutual(near: Tensor, rows: Tensor, count: int) -> NDArray[np.int64]:
    """Pairs each of which has the other among those that are near."""
    here, place = near.nonzero(as_tuple=True)
    codes = (here * count + rows[here, place]).cpu().numpy()
    back = codes % count * count + codes // count
    both = codes[np.isin(codes, back)]
    return np.stack([both // count, both % count], axis=1)


def _groups(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    found: NDArray[np.int64] = connected_components(links, directed=False)[1].astype(np.int64)
    return found
