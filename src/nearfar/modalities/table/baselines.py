"""What an encoder of rows must beat: gradient boosting on the cells, beside the linear probe of the raw input.

With many classes, boosting grows a tree for each of them in every round, and takes no part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nearfar.contract.baseline import Baseline

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nearfar.contract import Source

_MOST_CLASSES = 20
_LEAST = 50
"""With fewer rows, trees of at least 20 a leaf say the same of all."""


class Boosting(Baseline):
    """scikit-learn's gradient boosting of trees over binned cells, with its own settings.

    Categories are told as such; what is missing is a value of its own.
    """

    name = "gradient boosting"

    def classify(self, train: Source, labels: Tensor, test: Source, classes: int) -> Tensor | None:
        """Probabilities `[M, classes]`; None for more than 20 classes, fewer than 50 rows, or one class."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        seen, targets = np.unique(labels.numpy(), return_inverse=True)
        if classes > _MOST_CLASSES or len(labels) < _LEAST or len(seen) < 2:
            return None
        cells, categories = _cells(train)
        filled = ~np.isnan(cells).all(axis=0)  # of columns that hold nothing there is nothing to bin
        model = HistGradientBoostingClassifier(categorical_features=categories[filled], random_state=0)
        model.fit(cells[:, filled], targets)
        found = torch.zeros(len(test), classes, dtype=torch.float64)
        found[:, torch.from_numpy(seen)] = torch.from_numpy(model.predict_proba(_cells(test)[0][:, filled]))
        return found


def _cells(source: Source) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The cells `[N, C]`, unknown values of a category as one, and which columns are categories `[C]`."""
    raw, _ = source.fetch(np.arange(len(source)))
    cells = raw.rows.numpy().copy()
    for i, column in enumerate(raw.columns):
        if column.values is not None:
            cells[:, i] = np.minimum(cells[:, i], len(column.values))  # NaN stays
    return cells, np.array([column.values is not None for column in raw.columns])
