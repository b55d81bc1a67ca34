"""What all encoders of texts do: texts to numbered tokens, and tokens to what the network reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfar.contract import Encoder
from nearfar.contract import inputs as samples_of
from nearfar.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nearfar.contract import Inputs
    from nearfar.modalities.text.source import Texts


@dataclass(frozen=True)
class Tokens:
    """Texts as numbers: `ids` [n, t], of which row i has its first `lengths[i]` places filled."""

    ids: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    def part(self, start: int, stop: int) -> Tokens:
        """Some of the texts, no wider than the longest of them."""
        lengths = self.lengths[start:stop]
        return Tokens(self.ids[start:stop, : max(1, int(lengths.max(initial=0)))], lengths)

    @classmethod
    def of(cls, rows: Sequence[NDArray[np.int64]]) -> Tokens:
        """Rows of different lengths, filled up with zeros."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        ids = np.zeros((len(rows), max(1, int(lengths.max(initial=0)))), dtype=np.int64)
        if lengths.any():
            ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate(rows)
        return cls(ids, lengths)


class TextEncoder(Encoder):
    """An encoder of texts defines `tokenize`, `inputs` and `words` beside `features`."""

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Texts as tokens, at most `max_length` each."""
        raise NotImplementedError

    def inputs(self, tokens: Tokens) -> Inputs:
        """Tokens to the inputs of `features`, on the encoder's device."""
        raise NotImplementedError

    def words(self, inputs: Any) -> list[str]:
        """What a view's inputs say, for people to read."""
        raise NotImplementedError

    def prepare(self, raw: Texts) -> Inputs:
        """Texts to the inputs of `features`, on the encoder's device."""
        return samples_of.move(self.inputs(self.tokenize(raw.strings)), self.device)

    def typed(self, words: str) -> str:
        """The text itself."""
        return words

    def preprocess(self, inputs: Sequence[Any]) -> Inputs:
        """A list of texts to the inputs of `features`; raises DataError for what is no text."""
        for i, one in enumerate(inputs):
            if not isinstance(one, str):
                raise DataError(f"Input {i} is no text but {type(one).__name__}: encode takes texts.")
        return samples_of.move(self.inputs(self.tokenize(list(inputs))), self.device)


def refuse_preprocessing(asked: bool) -> None:
    """Raise ConfigError where a program is to read texts: it has tensors alone."""
    if asked:
        raise ConfigError(
            "No program can hold the preprocessing of texts: it takes numbers of tokens, which tokenizer.json beside "
            "it makes. Leave out preprocessing."
        )
