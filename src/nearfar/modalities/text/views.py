"""Views of texts: a span of the words, some of them left out, and out of order by a few places.

Deletion and reordering: Wu et al., "CLEAR: contrastive learning for sentence representation", 2020; spans: Giorgi et
al., "DeCLUTR", 2021. Where an encoder has dropout, its views of the same words differ too (Gao et al., "SimCSE", 2021).
"""

from __future__ import annotations

import numpy as np

from nearfar import randomness
from nearfar.contract import Inputs, Requirements, Rows, Views
from nearfar.modalities.text.encoder import TextEncoder, Tokens
from nearfar.modalities.text.options import TextOptions
from nearfar.modalities.text.source import Texts


def altered(tokens: Tokens, draws: Rows, *, view: int, seed: int, deletion: float, span: float, shuffle: int) -> Tokens:
    """View number `view` of texts; text i is a function of (seed, draws[i], view) and its tokens alone.

    A span of at least the share `span` of a text's tokens is kept, of these each with the probability 1 - `deletion`,
    one at least; `shuffle` is the largest number of places that one may move (Lample et al. 2018).
    """
    lengths, width = tokens.lengths[:, None], tokens.ids.shape[1]
    places = np.arange(width)
    kept = places < lengths
    if span < 1:
        drawn = randomness.uniform(seed, "text span", draws, 2, view).astype(np.float64)
        size = np.maximum(1, np.round((span + (1 - span) * drawn[:, :1]) * lengths)).astype(np.int64)
        start = (drawn[:, 1:] * (lengths - size + 1)).astype(np.int64)
        kept &= (places >= start) & (places < start + size)
    if deletion:
        numbers = np.where(kept, randomness.uniform(seed, "text deletion", draws, width, view), -1)
        kept &= (numbers >= deletion) | (numbers == numbers.max(1, keepdims=True))
    order = np.where(kept, places.astype(np.float64), np.inf)
    if shuffle:
        order += randomness.uniform(seed, "text order", draws, width, view) * (shuffle + 1)
    at = np.argsort(order, axis=1, kind="stable")
    found, left = np.take_along_axis(tokens.ids, at, axis=1), kept.sum(1)
    return Tokens(np.where(places < left[:, None], found, 0), left)


def make_views(
    raw: Texts, draws: Rows, *, requires: Requirements, seed: int, options: TextOptions, encoder: TextEncoder
) -> Views:
    """Views as the encoder's inputs; small ones show spans half as long."""
    tokens = encoder.tokenize(raw.strings)

    def make(view: int, start: int, stop: int) -> Inputs:
        span = options.span_scale or 1.0
        some = altered(
            tokens.part(start, stop),
            draws[start:stop],
            view=view,
            seed=seed,
            deletion=options.word_deletion or 0.0,
            span=span if view < requires.wide else span / 2,
            shuffle=options.word_shuffle,
        )
        return encoder.inputs(some)

    return Views(make, range(requires.wide + requires.small), 0, len(raw), requires.wide)
