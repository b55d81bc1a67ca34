"""Tokenizers of the library `tokenizers`: read from their JSON, or trained on the texts at hand."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfar.errors import ConfigError, MissingExtra
from nearfar.modalities.text.encoder import Tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Tokenizer:
    """A tokenizer by its JSON text; copies of an encoder share it. Raises ConfigError where it is none.

    `before` and `behind` are the ids of the special tokens that it puts around a text, `padding` fills rows up.
    """

    def __init__(self, text: str, *, lower: bool = False, prompt: str = "") -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # threads are given by --threads
        tokenizers = _library()
        try:
            self._inner: Any = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises nothing narrower
            raise ConfigError(f"tokenizer.json is no tokenizer: {str(error)[:200]}.") from None
        self.text = text
        self._lower, self._prompt = lower, prompt
        self._inner.no_truncation()
        padding = self._inner.padding
        self._inner.no_padding()
        bare = self._inner.encode("a", add_special_tokens=False).ids
        whole = self._inner.encode("a", add_special_tokens=True).ids
        start = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
        self.before, self.behind = whole[:start], whole[start + len(bare) :]
        names = [one for name in ("[PAD]", "<pad>") if (one := self._inner.token_to_id(name)) is not None]
        self.padding = int(padding["pad_id"] if padding else next(iter(names), 0))

    def __deepcopy__(self, memo: object) -> Tokenizer:
        return self

    @property
    def size(self) -> int:
        """One more than the largest id."""
        return 1 + max(map(int, self._inner.get_vocab(with_added_tokens=True).values()))

    def __call__(self, texts: Sequence[str], most: int) -> Tokens:
        """Texts as ids without special tokens, of which there is room for those: at most `most` with them."""
        given = [self._prompt + text.strip() for text in texts]
        found = self._inner.encode_batch_fast(
            [one.lower() for one in given] if self._lower else given, add_special_tokens=False
        )
        room = max(1, most - len(self.before) - len(self.behind))
        return Tokens.of([np.array(one.ids[:room], dtype=np.int64) for one in found])

    def around(self, tokens: Tokens) -> Tokens:
        """The tokens with the special ones around them, rows filled up."""
        before, behind = len(self.before), len(self.behind)
        lengths = tokens.lengths + before + behind
        ids = np.full((len(tokens), int(lengths.max(initial=1))), self.padding, dtype=np.int64)
        places = np.arange(ids.shape[1])
        own = tokens.ids[:, : ids.shape[1] - before - behind]
        there = np.arange(own.shape[1]) < tokens.lengths[:, None]
        ids[:, before : before + own.shape[1]][there] = own[there]
        ids[:, :before] = self.before
        for i, one in enumerate(self.behind):
            ids[places == (before + tokens.lengths + i)[:, None]] = one
        return Tokens(ids, lengths)

    def special(self) -> dict[str, str]:
        """The special tokens by what they are for, as transformers names them, of those that there are."""
        known = {"pad": "[PAD] <pad>", "unk": "[UNK] <unk>", "cls": "[CLS] <s>", "sep": "[SEP] </s>"}
        known["mask"] = "[MASK] <mask>"
        found = {
            kind: [name for name in names.split() if self._inner.token_to_id(name) is not None]
            for kind, names in known.items()
        }
        return {f"{kind}_token": names[0] for kind, names in found.items() if names}

    def decode(self, ids: NDArray[np.int64]) -> str:
        """What ids say, without special tokens."""
        return str(self._inner.decode(ids.tolist()))


def trained(texts: Iterable[str], size: int) -> str:
    """The JSON of a tokenizer of byte pairs that knows these texts, `size` tokens at most; the same each time.

    Sennrich et al., "Neural machine translation of rare words with subword units", 2016, over lower-case text whose
    spaces are marks at the beginning of words; where a script has none, pieces are as long as they are frequent. Not of
    word pieces, whose training numbers them otherwise each time.
    """
    library = _library()
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

    made = library.Tokenizer(models.BPE(unk_token="[UNK]"))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    made.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=2, special_tokens=list(_SPECIAL), show_progress=False)
    made.train_from_iterator(texts, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return str(made.to_str())


def of_words(words: Sequence[str]) -> str:
    """The JSON of a tokenizer that knows whole words alone, each by its place; the last one stands for all others."""
    library = _library()
    from tokenizers import models, normalizers, pre_tokenizers

    vocabulary = {word: place for place, word in reversed(list(enumerate(words)))}
    made = library.Tokenizer(models.WordLevel(vocabulary, unk_token=words[-1]))
    if all(word == word.lower() for word in words[:-1]):
        made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return str(made.to_str())


def is_tokenizer(text: str) -> bool:
    """Whether a text is the JSON of a tokenizer."""
    try:
        said = json.loads(text)
    except ValueError:
        return False
    return isinstance(said, dict) and "model" in said


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise MissingExtra("This encoder of texts", "tokenizers", "text") from None
    return tokenizers
