"""The options of texts; imports nothing heavy, so that help stays quick."""

from dataclasses import dataclass
from typing import Literal

from nearfar.options import Options, Span, automatic, option

ENCODERS: dict[str, str] = {
    "bag": "a weighted sum of hashed words and character n-grams: thousands of texts a second on one core",
    "transformer": "a small BERT from scratch, its tokenizer trained on the data",
    "hf:NAME": "a BERT or its kin by transformers, from a folder or the local cache of the hub",
    "st:FOLDER": "a folder of sentence-transformers, with its pooling, normalisation and length",
    "static:FILE": "static word vectors: .safetensors with a tokenizer, or word2vec's and GloVe's text",
}
"""Names built in, and a line for each."""

POOLINGS = ("mean", "cls", "max", "last", "mean_sqrt_len")
LONGEST = 8_192
"""Of a `max_length`: what is larger is a slip, or an altered file."""
MOST_BUCKETS = 2**24


@dataclass(frozen=True, kw_only=True)
class TextOptions(Options):
    """How texts are read and how their views are made."""

    max_length: int = automatic(
        "Words (of the bag) or tokens that an encoder reads of a text; the rest is left out.", least=1, most=LONGEST
    )
    word_deletion: float = automatic(
        "Share of its words that a view leaves out, in [0, 1).", least=0, below=1, tuned=Span(0, 0.6)
    )
    span_scale: float = automatic(
        "Smallest share of a text that a view shows, in (0, 1]: a span of its words.",
        above=0,
        most=1,
        tuned=Span(0.3, 1),
    )
    word_shuffle: int = option(0, "How many places a word of a view may move; 0 keeps the order.", least=0, most=1000)
    buckets: int = option(
        2**15, "Rows of the bag's table, which words and n-grams share by their hash.", least=2, most=MOST_BUCKETS
    )
    weight_rate: float = automatic(
        "Learning rate of the bag's weights of words, in units of that of their vectors, whose entries are smaller.",
        above=0,
        most=1000,
    )
    vocabulary: int = automatic("Tokens of the tokenizer that is trained for a transformer.", least=10, most=2**20)
    depth: int = automatic("Layers of a transformer from scratch.", least=1, most=100)
    pooling: Literal["mean", "cls", "max", "last", "mean_sqrt_len"] = automatic(
        "What becomes of a transformer's last states: their mean, that of the first token (cls) ..."
    )
    lora: int = option(
        0, "Rank of adapters beside the layers of hf: and st: encoders, which then stay fixed; 0: all learn.", least=0
    )
    fetch_weights: bool = option(False, "Fetch what hf:NAME stands for from the hub; by default nothing is fetched.")
