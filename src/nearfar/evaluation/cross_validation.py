"""How good vectors are by labels of the training part alone: no test sample is looked at."""

from torch import Tensor

from nearfar.evaluation.knn import knn_predict
from nearfar.evaluation.linear import fit_linear
from nearfar.evaluation.split import grouped_split, stratified_split

SPLITS, SHARE = 4, 0.25
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
