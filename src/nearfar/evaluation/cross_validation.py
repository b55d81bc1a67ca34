"""How good vectors are by labels of the training part alone: no test sample is looked at."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.contract import Encoder, Source
from nearfar.evaluation.embedding import embed_source
from nearfar.evaluation.knn import knn_predict, nearest, vote
from nearfar.evaluation.linear import fit_linear
from nearfar.evaluation.split import grouped_split, stratified_split
from nearfar.whitening import Whitening

SPLITS, SHARE = 4, 0.25
_NEIGHBOURS = 20
_STRENGTH = 1e-3  # the middle of the linear probe's grid: what is compared differs little


def cross_validated(vectors: Tensor, labels: Tensor, *, groups: Tensor | None = None, seed: int = 0) -> float:
    """The mean accuracy of kNN (k = 20) and a linear probe on vectors [N, D] with labels [N], -1 for none.

    Over four splits of which each holds out a quarter of every class, samples of equal `groups` [N] on one side.
    """
    classes, right = int(labels.max()) + 1, []
    for turn in range(SPLITS):
        if groups is None:
            learnt, asked = stratified_split(labels, share=SHARE, seed=seed + turn)
        else:
            learnt, asked = grouped_split(labels, groups, share=SHARE, seed=seed + turn)
        guesses = (
            knn_predict(vectors[learnt], labels[learnt], vectors[asked], classes=classes),
            fit_linear(vectors[learnt], labels[learnt], classes=classes, strength=_STRENGTH).predict(vectors[asked]),
        )
        right += [(guess == labels[asked]).float().mean().item() for guess in guesses]
    return sum(right) / len(right)


def told_by_neighbours(encoder: Encoder, source: Source, *, whiten: bool) -> Tensor:
    """Whether the 20 nearest others of each sample tell its class: 0 or 1 [N], of those that can be read.

    All samples have labels; those of one group, such as a speaker, do not tell each other's. With `whiten` vectors are
    whitened as those of a finished encoder.
    """
    vectors, rows = embed_source(encoder, source, show=False)
    if not len(vectors) or source.labels is None:
        return torch.empty(0, dtype=torch.float64)
    if whiten:
        vectors = Whitening(encoder.dim).fit(vectors)(vectors)
    labels = torch.from_numpy(source.labels[rows])
    if source.groups is None or len(np.unique(source.groups[rows])) < 2:
        similarities, at = nearest(vectors, vectors, _NEIGHBOURS, exclude_self=True)
    else:
        similarities, at = _nearest_of_others(vectors, torch.from_numpy(source.groups[rows]))
    return (vote(similarities, labels[at], classes=int(labels.max()) + 1) == labels).double()


def _nearest_of_others(vectors: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and rows of the nearest of other groups; those of a sample's own have -inf, which has no vote."""
    unit = normalize(vectors.float(), dim=1)
    cosines = (unit @ unit.T).masked_fill_(groups[:, None] == groups, -torch.inf)
    found = cosines.topk(min(_NEIGHBOURS, len(vectors)))
    return found.values, found.indices
