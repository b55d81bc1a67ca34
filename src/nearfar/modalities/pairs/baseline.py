"""What pairs are compared with that learns nothing: the two sides meet at the training pairs that they resemble.

Norelli et al., "ASIF: coupled data turns unimodal models to multimodal without training", 2023, section 2: an item is
described by its similarities to the training items of its own side, all but the K largest set to 0; items of the two
sides are compared by the cosine of these descriptions. Here the similarities are those of the usual baseline of each
side's kind (pixels, TF-IDF), where the paper has pretrained encoders.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.contract import Baseline, Source
from nearfar.modalities import registry
from nearfar.modalities.pairs.source import PairSource, SideSource

_KEPT = 50
_MOST = 20_000
_POWER = 8.0
"""The paper's exponent: what is much alike counts much more."""


class MeetingAtPairs(Baseline):
    """ASIF over the raw inputs of both sides; takes part where the kinds of both have a baseline that can compare."""

    name = "nearest pairs"

    def fit(self, train: Source) -> None:
        """Keep the pairs, one item of each side, and fit a baseline of each kind to its items."""
        self._train: tuple[SideSource, SideSource] | None = None
        self._baselines: list[Baseline] = []
        if not isinstance(train, PairSource) or len(train) < 2:
            return
        some = train.take(np.arange(0, len(train), max(1, len(train) // _MOST)))
        assert isinstance(some, PairSource)
        sides = some.own[0], some.positives
        for kind, side in zip(train.kinds, sides, strict=True):
            for one in registry.load(kind).baselines():
                one.fit(side.inner)
                if _compared(one, side.inner.take(np.arange(1)), side.inner.take(np.arange(1))) is not None:
                    self._baselines.append(one)
                    break
            else:
                return
        self._train = sides

    def rank(self, queries: Source, corpus: Source) -> Tensor | None:
        """Cosines of the descriptions `[Q, C]`; None where the kinds have nothing to compare by."""
        if self._train is None:
            return None
        a, b = self._described(queries), self._described(corpus)
        return None if a is None or b is None else a @ b.T

    def _described(self, items: Source) -> Tensor | None:
        """[n, pairs] unit vectors: how alike each item is to its side of the training pairs."""
        assert self._train is not None
        own = items.own[0] if isinstance(items, PairSource) else items
        if not isinstance(own, SideSource):
            return None
        similar = _compared(self._baselines[own.side], own.inner, self._train[own.side].inner)
        if similar is None:
            return None
        kept = similar.topk(min(_KEPT, similar.shape[1]), dim=1)
        found = torch.zeros_like(similar).scatter_(1, kept.indices, kept.values.clamp_min(0) ** _POWER)
        return normalize(found, dim=1)


def _compared(baseline: Baseline, queries: Source, corpus: Source) -> Tensor | None:
    """How alike items of one kind are `[Q, C]`; None where the baseline cannot say."""
    found = baseline.rank(queries, corpus)
    if found is not None:
        return found.float()
    a, b = baseline.vectors(queries), baseline.vectors(corpus)
    if a is None or b is None:
        return None
    mean = b.mean(0)
    return normalize(a - mean, dim=1) @ normalize(b - mean, dim=1).T
