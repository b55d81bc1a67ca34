"""Hard, semi-hard and easy triplets, by how much farther the negative is than the positive.

Schroff et al., "FaceNet", 2015, section 3.2. https://arxiv.org/abs/1503.03832
Hermans et al., "In Defense of the Triplet Loss", 2017, eq. 5. https://arxiv.org/abs/1703.07737
"""

from typing import Annotated

import torch
from torch import Tensor

from nearfar.kernels import row_blocks
from nearfar.losses.core.distance import block_distances, centred, preparation
from nearfar.losses.core.labelled import compare
from nearfar.losses.core.objective import checked
from nearfar.losses.core.settings import Distance, NotNegative, Word
from nearfar.losses.triplet import hardest_of

Kind = Annotated[str, Word(("all", "hard", "semi_hard", "easy"))]


@torch.no_grad()
@checked
def margin_triplets(
    z: Tensor,
    *,
    labels: Tensor,
    kind: Kind = "all",
    margin: NotNegative = 0.2,
    distance: Distance = "euclidean",
    normalize: bool = True,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    offset: int | None = None,
    longest: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Triplets (a, p, n) by their gap `d_an - d_ap`, in the order of a, p, n: [M, D], labels [M] -> three times [K].

    "hard": gap <= 0. "semi_hard": 0 < gap <= margin. "easy": gap > margin. "all": gap <= margin, that is, hard and
    semi-hard, all whose hinge is not 0. distance and normalize: as in `triplet`. The result may be cubic in number;
    beside it memory is linear in the batch, in blocks of `longest` anchors where that is given.
    """
    found = compare(z, labels, reference, reference_labels, offset, None, preparation(distance, normalize))
    anchors, columns = centred(found.anchors, found.columns, distance)
    m, n = len(anchors), len(columns)
    parts = []
    for at in row_blocks(m, n, longest=longest):
        d = block_distances(anchors[at], columns, distance)
        positive, negative = found.masks(at)
        row, p = positive.nonzero(as_tuple=True)
        for some in row_blocks(len(row), n):
            i, j = row[some], p[some]
            gap = d[i] - d[i, j].unsqueeze(1)
            wanted = {
                "all": lambda gap: gap <= margin,
                "hard": lambda gap: gap <= 0,
                "semi_hard": lambda gap: (gap > 0) & (gap <= margin),
                "easy": lambda gap: gap > margin,
            }[kind](gap)
            k, far = (wanted & negative[i]).nonzero(as_tuple=True)
            parts.append(torch.stack([at.start + i[k], j[k], far]))
    a, p, far = torch.cat(parts, 1) if parts else torch.zeros(3, 0, dtype=torch.long, device=z.device)
    return a, p, far


@torch.no_grad()
@checked
def hardest_triplets(
    z: Tensor,
    *,
    labels: Tensor,
    distance: Distance = "euclidean",
    normalize: bool = True,
    reference: Tensor | None = None,
    reference_labels: Tensor | None = None,
    offset: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """For each anchor that has both, its farthest positive and nearest negative (batch-hard): three times [K]."""
    found = compare(z, labels, reference, reference_labels, offset, None, preparation(distance, normalize))
    return hardest_of(found, distance)
