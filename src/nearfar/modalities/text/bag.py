"""A bag of words: each word is a weighted sum of vectors of itself and its character n-grams, a text that of its words.

Rows of the table are found by hashing (Weinberger et al., "Feature hashing for large scale multitask learning", 2009;
n-grams as in Bojanowski et al., "Enriching word vectors with subword information", 2017). Vectors start at random and
weights at the inverse document frequency of the training texts, so that the untrained bag is a random projection of
TF-IDF, whose cosines it keeps up to noise of 1 / sqrt(dim).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nearfar.errors import ConfigError
from nearfar.memory import check_weights
from nearfar.modalities.text.encoder import TextEncoder, Tokens
from nearfar.modalities.text.options import LONGEST, MOST_BUCKETS
from nearfar.modalities.text.words import PARTS, Lexicon, units
from nearfar.options import whole

if TYPE_CHECKING:
    from nearfar.contract import Inputs, Parts
    from nearfar.contract.program import Program

_COUNTED = 20_000
_GRAMS_WEIGH = 3.0  # of a word's n-grams together, in units of the word: best for untrained cosines of STS-B's dev part


class Bag(TextEncoder):
    """A sum of word vectors, divided by the root of their number."""

    cheaper = "a smaller encoder (--width, --buckets)"
    embed_batch = 1024
    smallest_batch = 256  # a step has a fixed cost that smaller batches do not pay for

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = dict(config)
        self.dim = whole(config, "width")
        buckets = whole(config, "buckets", least=2, most=MOST_BUCKETS)
        self._longest = whole(config, "max_length", most=LONGEST)
        check_weights(buckets * self.dim, "width or number of buckets")
        self.table = nn.Embedding(buckets, self.dim, padding_idx=0)
        nn.init.normal_(self.table.weight, std=1 / math.sqrt(self.dim))
        self.weight = nn.Parameter(torch.ones(buckets))
        self.lexicon = Lexicon(buckets)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Texts as places of their words in the lexicon."""
        found = [units(text)[: self._longest] for text in texts]
        return Tokens.of(self.lexicon.places(found))

    def inputs(self, tokens: Tokens) -> Inputs:
        """The names of the words `[n, t]`, 0 where there is none, and the buckets of their features `[n, t, PARTS]`."""
        entries = self.lexicon.entries
        there = np.arange(tokens.ids.shape[1]) < tokens.lengths[:, None]
        return {
            "word": torch.from_numpy(np.where(there, entries.names[tokens.ids], 0)),
            "parts": torch.from_numpy(np.where(there[..., None], entries.parts[tokens.ids], 0)),
        }

    def programs(self, *, preprocessing: bool) -> dict[str, Program]:
        """None: words are hashed by code of nearfar. Raises ConfigError."""
        raise ConfigError(
            "The encoder 'bag' has no form without nearfar, whose code hashes its words: export it --to safetensors, "
            "or take the encoder transformer or static:."
        )

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Words `[n, t]` and their features' buckets `[n, t, PARTS]` to vectors `[n, dim]`."""
        there = inputs["word"] != 0
        counts = there.sum(1)
        # A word that stands in many texts of the batch is summed up once.
        names, which = torch.unique(inputs["word"][there], return_inverse=True)
        first = torch.empty_like(names).scatter_(0, which, torch.arange(len(which), device=which.device))
        parts = inputs["parts"][there][first]  # [u PARTS]
        weights = self.weight[parts] * _share(parts)
        words = F.embedding_bag(
            parts, self.table.weight, per_sample_weights=weights.to(self.table.weight), mode="sum", padding_idx=0
        )
        starts = counts.cumsum(0) - counts
        texts = F.embedding_bag(which, words, starts, mode="sum")
        return texts / counts.clamp_min(1).sqrt()[:, None]

    def parts(self, inputs: Mapping[str, Tensor]) -> Parts:
        """The words of one text; its vector is a sum over them."""
        from nearfar.modalities.text.parts import parts_of_words

        there = inputs["word"][0] != 0
        names, parts = inputs["word"][0][there], inputs["parts"][0][there]
        words = self.lexicon.words(names.cpu().numpy())
        both = torch.cat([names[:, None], parts], dim=1)  # [t 1+PARTS]
        each = self.features({"word": names[:, None], "parts": parts[:, None]}) / max(len(words), 1) ** 0.5

        def made(kept: Tensor, lengths: Tensor) -> Inputs:
            return {"word": kept[..., 0], "parts": kept[..., 1:]}

        features = self.features(inputs)[0]
        return parts_of_words(words, both, range(len(words)), made, terms=each, features=features)

    def words(self, inputs: Mapping[str, Tensor]) -> list[str]:
        """The words, with spaces between."""
        names = [row[row != 0] for row in inputs["word"].cpu().numpy()]
        found = iter(self.lexicon.words(np.concatenate([*names, np.empty(0, dtype=np.int64)])))
        return [" ".join(next(found) for _ in row) for row in names]

    def acquaint(self, source: Any) -> None:
        """Start the weights at the inverse document frequency among up to 20,000 texts, their mean being 1."""
        found, texts = np.zeros(len(self.weight)), source.some(_COUNTED)
        for text in texts:
            tokens = self.tokenize([text])
            buckets = self.lexicon.entries.parts[tokens.ids[0, : tokens.lengths[0]]]
            found[np.unique(buckets)] += 1
        rarity = np.log((1 + len(texts)) / (1 + found)) + 1
        with torch.no_grad():
            self.weight.copy_(torch.from_numpy(rarity / rarity.mean()))


def _share(parts: Tensor) -> Tensor:
    """How much each feature of a word counts `[u, PARTS]`: the word itself 1, its n-grams together a share of that."""
    grams = (parts[:, 1:] != 0).sum(1, keepdim=True).clamp_min(1)
    return torch.cat([torch.ones_like(grams), (_GRAMS_WEIGH / grams.sqrt()).expand(-1, PARTS - 1)], 1)
