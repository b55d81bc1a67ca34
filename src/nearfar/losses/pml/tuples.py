"""Which embeddings are compared: pairs and triplets, from labels or from a miner, in memory linear in their number.

Pairs are (anchors, positives, anchors, negatives), triplets (anchors, positives, negatives): indices of the rows of
embeddings first, of the rows of the references after. Where labels and reference labels are one tensor, row i of both
is one sample, and no pair.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from nearfar.errors import DataError, must
from nearfar.kernels import row_blocks
from nearfar.losses.core.tuples import check_indices

Indices = tuple[Tensor, ...]


class Compared(NamedTuple):
    """What a loss compares: anchors and references, by their labels or as listed.

    With an offset, row offset + i of ref_emb is row i of embeddings, and no pair of it.
    """

    embeddings: Tensor
    labels: Tensor | None
    listed: Indices | None
    ref_emb: Tensor
    ref_labels: Tensor | None
    offset: int | None

    @property
    def reference(self) -> Tensor | None:
        """The references, None where the anchors are compared with each other."""
        return None if self.ref_emb is self.embeddings else self.ref_emb

    def by_labels(self) -> dict[str, Any]:
        """The arguments of `nearfar.losses` for all pairs."""
        assert self.labels is not None
        assert self.ref_labels is not None
        # There -1 is no class; here it is one like any other.
        classes = torch.unique(torch.cat([self.labels, self.ref_labels]), return_inverse=True)[1]
        labels, ref_labels = classes.tensor_split([len(self.labels)])
        if self.reference is None and self.offset == 0:
            return {"labels": labels}
        return {
            "labels": labels, "reference": self.ref_emb, "reference_labels": ref_labels, "offset": self.offset
        }  # fmt: skip


def checked(
    embeddings: Tensor, labels: Tensor | None, ref_emb: Tensor | None, ref_labels: Tensor | None
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Labels, references and their labels on the embeddings' device, the embeddings' own where none are given."""
    if embeddings.dim() != 2:
        raise DataError(f"embeddings must be [M, D], got shape {list(embeddings.shape)}.")
    if ref_emb is not None and (ref_emb.dim() != 2 or ref_emb.shape[1] != embeddings.shape[1]):
        raise DataError(f"ref_emb must be [N, {embeddings.shape[1]}], got shape {list(ref_emb.shape)}.")
    must(ref_emb is not None or ref_labels is None, "ref_labels belong to a ref_emb", got=ref_emb)
    ref_emb = embeddings if ref_emb is None else ref_emb
    if ref_labels is None and len(ref_emb) == len(embeddings):
        ref_labels = labels
    one = ref_labels is labels
    labels = None if labels is None else labels.to(embeddings.device)
    if one:
        ref_labels = labels
    elif ref_labels is not None:
        ref_labels = ref_labels.to(embeddings.device)
    for name, size, found in (("labels", len(embeddings), labels), ("ref_labels", len(ref_emb), ref_labels)):
        if found is not None and found.shape != (size,):
            raise DataError(f"{name} must be [{size}], one for each row, got shape {list(found.shape)}.")
    return labels, ref_emb, ref_labels


def checked_indices(indices: Indices, rows: int, columns: int, device: torch.device) -> Indices:
    """The tuple on `device`; raises DataError unless it is of three or four lists of indices that exist."""
    if not isinstance(indices, (tuple, list)) or len(indices) not in (3, 4):
        raise DataError(
            "indices_tuple must be (anchors, positives, negatives) or (anchors, positives, anchors, negatives)."
        )
    moved = tuple(part.to(device) for part in indices)
    check_indices("indices_tuple", moved, (rows, columns, columns) if len(moved) == 3 else (rows, columns) * 2)
    for group in (moved,) if len(moved) == 3 else (moved[:2], moved[2:]):
        lengths = [len(part) for part in group]
        if len({*lengths}) > 1:
            raise DataError(f"A pair or triplet of indices_tuple needs all of its indices, got lists of {lengths}.")
    return tuple(part.long() for part in moved)


def masks(labels: Tensor, ref_labels: Tensor, at: slice) -> tuple[Tensor, Tensor]:
    """Which references are positives and which negatives of the anchors `at`: two [r, N]."""
    same = labels[at, None] == ref_labels
    negatives = ~same
    if ref_labels is labels:
        same.diagonal(at.start).fill_(False)
    return same, negatives


def all_pairs(labels: Tensor, ref_labels: Tensor) -> Indices:
    """All pairs, in the order of their anchors."""
    parts: list[list[Tensor]] = [[labels.new_zeros(0, dtype=torch.long)] for _ in range(4)]
    for at in row_blocks(len(labels), len(ref_labels)):
        for k, mask in enumerate(masks(labels, ref_labels, at)):
            anchors, others = mask.nonzero(as_tuple=True)
            parts[2 * k].append(anchors + at.start)
            parts[2 * k + 1].append(others)
    return tuple(torch.cat(part) for part in parts)


def to_pairs(found: Compared) -> Indices:
    """The pairs listed, else all pairs."""
    return all_pairs(*both(found.labels, found.ref_labels)) if found.listed is None else as_pairs(found.listed)


def as_pairs(indices: Indices) -> Indices:
    """Pairs as they are; of triplets, each anchor with its positive, and with its negative."""
    return indices if len(indices) == 4 else (indices[0], indices[1], indices[0], indices[2])


def to_triplets(found: Compared, each: int | str = "all") -> Indices:
    """The triplets listed, else all triplets, or `each` drawn for every anchor."""
    if found.listed is not None:
        return as_triplets(found.listed)
    labels, ref_labels = both(found.labels, found.ref_labels)
    return joined(all_pairs(labels, ref_labels)) if each == "all" else random_triplets(labels, ref_labels, int(each))


def as_triplets(indices: Indices) -> Indices:
    """Triplets as they are; of pairs, all that share an anchor."""
    return indices if len(indices) == 3 else joined(indices)


def both(labels: Tensor | None, ref_labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Labels of both sides; raises DataError where there are none."""
    if labels is None or ref_labels is None:
        raise DataError("A loss needs labels, and ref_labels with ref_emb, or an indices_tuple.")
    return labels, ref_labels


def joined(pairs: Indices) -> Indices:
    """Each positive pair with each negative pair of its anchor, as triplets."""
    anchors, positives, negative_anchors, negatives = pairs
    order = negative_anchors.argsort(stable=True)
    sorted_anchors = negative_anchors[order]
    start = torch.searchsorted(sorted_anchors, anchors)
    many = torch.searchsorted(sorted_anchors, anchors, right=True) - start
    pair = torch.arange(len(anchors), device=anchors.device).repeat_interleave(many)
    nth = torch.arange(len(pair), device=anchors.device) - (many.cumsum(0) - many)[pair]
    return anchors[pair], positives[pair], negatives[order[start[pair] + nth]]


def random_triplets(labels: Tensor, ref_labels: Tensor, each: int | None = None) -> Indices:
    """`each` triplets of every anchor that has a positive and a negative (None: as many as its class has references).

    Positives and negatives are drawn evenly, with replacement, from torch's generator.
    """
    anchors, positives, members, start = random_positives(labels, ref_labels, each)
    # Sorted by label, the negatives are all that is not one stretch.
    order = ref_labels.argsort(stable=True)
    outside = len(ref_labels) - members
    draw = _below(outside)
    return anchors, positives, order[torch.where(draw < start, draw, draw + members)]


def random_positives(
    labels: Tensor, ref_labels: Tensor, each: int | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Anchors, each `each` times, and a positive for each; and of its class: how many references, and where sorted."""
    itself = int(ref_labels is labels)
    order = ref_labels.argsort(stable=True)
    sorted_labels = ref_labels[order]
    start = torch.searchsorted(sorted_labels, labels)
    members = torch.searchsorted(sorted_labels, labels, right=True) - start
    found = ((members > itself) & (members < len(ref_labels))).nonzero(as_tuple=True)[0]
    anchors = found.repeat_interleave(members[found] if each is None else members.new_full((len(found),), each))
    draw = _below(members[anchors] - itself)
    if itself:
        rank = order.argsort() - start
        draw += draw >= rank[anchors]
    return anchors, order[start[anchors] + draw], members[anchors], start[anchors]


def _below(limits: Tensor) -> Tensor:
    """A whole number from 0 to below each limit."""
    return torch.randint(2**62, limits.shape, device=limits.device) % limits


def distinct_pairs(found: Compared) -> Indices:
    """`to_pairs`, each once; raises DataError where a pair is both positive and negative."""
    a1, p, a2, n = to_pairs(found)
    width = len(found.ref_emb)
    positives, negatives = (torch.unique(anchors * width + others) for anchors, others in ((a1, p), (a2, n)))
    if torch.isin(positives, negatives).any():
        raise DataError("indices_tuple lists a pair as positive and as negative: it can be one of them.")
    return positives // width, positives % width, negatives // width, negatives % width


def weights(indices: Indices | None, size: int, like: Tensor, *, anchors_only: bool = False) -> Tensor:
    """How often each embedding is listed, over the most often listed one: [size]; 1 where nothing is listed."""
    if indices is None or all(len(part) == 0 for part in indices):
        return like.new_ones(size)
    listed = indices if not anchors_only else indices[:1] if len(indices) == 3 else indices[::2]
    counts = torch.bincount(torch.cat(listed), minlength=size)
    return counts.to(like) / counts.max()
