"""What an encoder of texts must beat: TF-IDF of words, of words and their characters, and BM25, which only ranks.

Words are those of `words.units`. TF-IDF: Salton and Buckley, "Term-weighting approaches in automatic text retrieval",
1988, as scikit-learn has it, with 1 + log of the counts. BM25: Robertson and Zaragoza, "The probabilistic relevance
framework: BM25 and beyond", 2009, with k1 = 1.2 and b = 0.75, the rarity of words being that in the corpus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nearfar.contract.baseline import Baseline
from nearfar.modalities.text.words import units

if TYPE_CHECKING:
    from nearfar.contract import Source

_COUNTED = 100_000  # texts whose words are counted
_K1, _B = 1.2, 0.75


class TfIdf(Baseline):
    """TF-IDF compared by cosine, and a linear support vector machine on it."""

    def __init__(self, *, characters: bool) -> None:
        self.name = "TF-IDF of words + characters" if characters else "TF-IDF of words"
        self._characters = characters
        self._counters: list[Any] = []

    def fit(self, train: Source) -> None:
        """Count in how many of the training texts, and of their positives, words and n-grams of characters stand."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = _texts(train)
        if (others := train.positives) is not None:
            texts += _texts(others)
        known = [text for text in texts[:_COUNTED] if text.strip()]
        kinds: list[dict[str, Any]] = [{"analyzer": units}]
        if self._characters:
            kinds.append({"analyzer": "char_wb", "ngram_range": (3, 5)})
        # Words and n-grams weigh by their rarity alone: of unit length together, not each kind by itself.
        self._counters = [TfidfVectorizer(sublinear_tf=True, norm=None, **kind).fit(known) for kind in kinds]

    def similarity(self, one: Source, other: Source) -> Tensor:
        """The cosine of each pair of texts."""
        return torch.from_numpy(np.asarray(self._rows(one).multiply(self._rows(other)).sum(1)).ravel())

    def rank(self, queries: Source, corpus: Source) -> Tensor:
        """The cosine of each query with each text of the corpus."""
        return torch.from_numpy((self._rows(queries) @ self._rows(corpus).T).toarray())

    def classify(self, train: Source, labels: Tensor, test: Source, classes: int) -> Tensor | None:
        """Softmax of the machine's margins `[M, classes]`; None where only one class is seen."""
        from sklearn.svm import LinearSVC

        seen, targets = np.unique(labels.numpy(), return_inverse=True)
        if len(seen) < 2:
            return None
        machine = LinearSVC(C=1.0, random_state=0).fit(self._rows(train), targets)
        margins = torch.from_numpy(machine.decision_function(self._rows(test)))
        found = torch.full((len(test), classes), -torch.inf, dtype=torch.float64)
        found[:, torch.from_numpy(seen)] = torch.stack([-margins, margins], 1) if margins.ndim == 1 else margins
        return found.softmax(1)

    def _rows(self, source: Source) -> Any:
        """Sparse rows of length 1 `[N, words]`."""
        from scipy.sparse import hstack
        from sklearn.preprocessing import normalize

        texts = _texts(source)
        return normalize(hstack([counter.transform(texts) for counter in self._counters]).tocsr())


class BM25(Baseline):
    """BM25: how well a text of a corpus answers a query."""

    name = "BM25"

    def rank(self, queries: Source, corpus: Source) -> Tensor:
        """The score of each text of the corpus for each query."""
        from scipy.sparse import diags_array
        from sklearn.feature_extraction.text import CountVectorizer

        counter = CountVectorizer(analyzer=units)
        counts = counter.fit_transform(_texts(corpus)).astype(np.float64).tocsr()
        asked = counter.transform(_texts(queries))
        lengths, there = counts.sum(1), counts.getnnz(0)
        rarity = np.log(1 + (len(corpus) - there + 0.5) / (there + 0.5))
        norms = _K1 * (1 - _B + _B * np.asarray(lengths).ravel() / max(float(lengths.mean()), 1e-9))
        by_row = np.repeat(norms, np.diff(counts.indptr))
        counts.data = counts.data * (_K1 + 1) / (counts.data + by_row)
        return torch.from_numpy((asked @ (counts @ diags_array(rarity)).T).toarray())


def _texts(source: Source) -> list[str]:
    """All texts, empty where one cannot be read."""
    raw, kept = source.fetch(np.arange(len(source)))
    found = [""] * len(source)
    for row, text in zip(kept.tolist(), raw.strings, strict=True):
        found[row] = text
    return found
