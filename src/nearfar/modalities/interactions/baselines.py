"""What recommendation must beat: what is popular, what is had together, and a linear model in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.contract import Baseline, Source

if TYPE_CHECKING:
    from nearfar.contract import Rows
    from nearfar.modalities.interactions.source import InteractionSource, Items, Users

_NEIGHBOURS = (20, 50, 100, 200)
_STRENGTHS = (20, 50, 100, 200, 500, 2000)
_AT = 20
_WIDEST = 12_000
"""Most users, or else items, of which a matrix is inverted."""
_ITEMS = 1024
"""Items that are compared with all at a time."""
_MOST = 2**31
"""Most bytes of a matrix of users and items."""

Matrix = NDArray[np.float32]


class _OfHad(Baseline):
    """A baseline of the matrix X [U, I] of who had what in training, 1 or 0.

    What is to be chosen is chosen by the fifth of the training interactions that a split of them holds out. Where the
    matrix does not fit into 2 GB, it takes no part.
    """

    choices: tuple[int, ...] = (0,)

    def fit(self, train: Source) -> None:
        """Learn from the training interactions."""
        source: InteractionSource = train  # type: ignore[assignment]
        self.had: Matrix | None = None
        if 4 * len(source.log.users) * len(source.log.items) > _MOST:
            return
        self.had = _matrix(source, np.arange(len(source)))
        self.choice = self.choices[0]
        if len(self.choices) > 1:
            learnt, judged = (_matrix(source, rows) for rows in source.split(0))
            quality = {choice: _ndcg(self.scores(learnt, choice), learnt, judged) for choice in self.choices}
            self.choice = max(quality, key=lambda choice: quality[choice])
        self.wanted = self.scores(self.had, self.choice)

    def scores(self, had: Matrix, choice: int) -> Matrix:
        """How much each user wants each item `[U, I]`."""
        raise NotImplementedError

    def rank(self, queries: Source, corpus: Source) -> Tensor | None:
        """How much users want items `[Q, C]`."""
        users: Users = queries  # type: ignore[assignment]
        items: Items = corpus  # type: ignore[assignment]
        if self.had is None:
            return None
        return torch.from_numpy(self.wanted[users.numbers[users.at]][:, items.numbers[items.at]])


class Popularity(_OfHad):
    """The items that most users had."""

    name = "popularity"

    def scores(self, had: Matrix, choice: int) -> Matrix:
        """The same for all users."""
        return np.broadcast_to(had.sum(axis=0), had.shape)


class ItemKNN(_OfHad):
    """An item is wanted as much as it is near to what was had: the sum of its cosines with those among its k nearest.

    Deshpande and Karypis, "Item-based top-N recommendation algorithms", 2004.
    """

    name = "item-kNN"
    choices = _NEIGHBOURS

    def scores(self, had: Matrix, choice: int) -> Matrix:
        """With the `choice` nearest neighbours of each item."""
        from scipy.sparse import csr_array

        found = np.empty_like(had)
        sparse, norms = csr_array(had), np.maximum(np.linalg.norm(had, axis=0), 1e-12)
        unit = csr_array(had / norms)
        for start in range(0, had.shape[1], _ITEMS):
            cosines = (unit[:, start : start + _ITEMS].T @ unit).toarray()  # [some, I]
            some, k = np.arange(len(cosines)), min(choice, cosines.shape[1])
            cosines[some, some + start] = 0
            least = np.partition(cosines, -k, axis=1)[:, -k, None]
            found[:, start : start + _ITEMS] = sparse @ np.where(cosines >= least, cosines, 0).T
        return found


class EASE(_OfHad):
    """The linear model X B that gives X back best without an item giving itself, its squares weighed by a strength.

    Steck, "Embarrassingly shallow autoencoders for sparse data", 2019, equation 8: with P = (X'X + strength)^-1, B is
    -P with each column divided by its diagonal, and 0 on the diagonal. By Woodbury's identity X P = (XX' + strength)^-1
    X, so that the smaller of the two matrices is inverted. Where both are wider than 12,000, it takes no part.
    """

    name = "EASE"
    choices = _STRENGTHS

    def fit(self, train: Source) -> None:
        """As the others, where a matrix can be inverted."""
        source: InteractionSource = train  # type: ignore[assignment]
        self.had = None
        if min(len(source.log.users), len(source.log.items)) <= _WIDEST:
            super().fit(train)

    def scores(self, had: Matrix, choice: int) -> Matrix:
        """With this strength."""
        users, items = had.shape
        gram = had @ had.T if users <= items else had.T @ had
        inverse = np.linalg.inv(gram.astype(np.float64) + choice * np.eye(len(gram)))
        narrow = inverse.astype(np.float32)
        if users <= items:
            spread = narrow @ had  # X P
            diagonal = (1 - (had * spread).sum(axis=0)) / choice
        else:
            spread, diagonal = had @ narrow, narrow.diagonal()
        found: Matrix = had - spread / diagonal
        return found


def _matrix(source: InteractionSource, rows: Rows) -> Matrix:
    """Who had what of some interactions."""
    found = np.zeros((len(source.log.users), len(source.log.items)), dtype=np.float32)
    found[source.user[rows], source.item[rows]] = 1
    return found


def _ndcg(scores: Matrix, learnt: Matrix, judged: Matrix) -> float:
    """NDCG@20 of what was not learnt from, the mean over users who are judged."""
    scores = np.where(learnt > 0, -np.inf, scores)
    best: Rows = np.argsort(-scores, axis=1, kind="stable")[:, :_AT]
    gains = 1 / np.log2(np.arange(best.shape[1]) + 2)
    count = judged.sum(axis=1).astype(np.int64)
    ideal = np.concatenate([[0], np.cumsum(gains)])[np.minimum(count, best.shape[1])]
    found = (np.take_along_axis(judged, best, axis=1) * gains).sum(axis=1)
    return float((found[count > 0] / ideal[count > 0]).mean())
