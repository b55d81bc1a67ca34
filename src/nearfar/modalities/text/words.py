"""A text as units: words, and in scripts without spaces single characters and pairs of them.

Texts are normalised by Unicode's NFKC and case folding. What is no letter, digit, mark or symbol separates words.
"""

import threading
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from nearfar.data.words import UNSPACED

PARTS = 24
"""Features of a word: itself, and at most so many less one of its n-grams."""
_GRAMS = (3, 4)
_EARLIER = "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer

Rows = NDArray[np.int64]


class _Separated(dict[int, str]):
    """For `str.translate`: what a character becomes, looked up once each."""

    def __missing__(self, code: int) -> str:
        kind = unicodedata.category(chr(code))
        if kind in ("So", "Sc"):  # emoji, currencies
            found = f" {chr(code)} "
        else:
            found = " " if kind[0] in "PZSC" and kind != "Cf" else chr(code) if kind != "Cf" else ""
        self[code] = found
        return found


_SEPARATED = _Separated()


def units(text: str) -> list[str]:
    """The units of a text in their order; of one without any word, its characters."""
    text = unicodedata.normalize("NFKC", text).casefold()
    found = text.translate(_SEPARATED).split()
    if not found:
        return [character for character in text if not character.isspace()]
    if text.isascii() or UNSPACED.search(text) is None:
        return found
    return [unit for word in found for unit in _cut(word)]


def _cut(word: str) -> Iterable[str]:
    """A word, where a script has no spaces cut into characters, each followed by the pair that it begins."""
    end = 0
    for run in UNSPACED.finditer(word):
        if run.start() > end:
            yield word[end : run.start()]
        characters = run[0]
        for i, character in enumerate(characters):
            yield character
            if i + 1 < len(characters):
                yield characters[i : i + 2]
        end = run.end()
    if end < len(word):
        yield word[end:]


def features(word: str, buckets: int) -> list[int]:
    """The buckets in [1, buckets) of a word and of its n-grams of 3 and 4 characters, its ends marked."""
    marked = f"<{word}>"
    found = [marked]
    for n in _GRAMS:
        found += [marked[i : i + n] for i in range(len(marked) - n + 1) if n < len(marked)]
    return [1 + zlib.crc32(one.encode("utf-8", "surrogatepass")) % (buckets - 1) for one in found[:PARTS]]


def name_of(word: str) -> int:
    """A number other than 0 that stands for a word."""
    raw = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(raw, "little", signed=True) or 1


class Lexicon:
    """The features of the words met so far, each worked out once; copies of an encoder share it.

    Which words it remembers changes nothing: it is a cache of what a word's letters say.
    """

    def __init__(self, buckets: int) -> None:
        self._buckets = buckets
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        self._names = np.zeros(1024, dtype=np.int64)
        self._parts = np.zeros((1024, PARTS), dtype=np.int32)

    def __deepcopy__(self, memo: object) -> "Lexicon":
        return self

    @property
    def entries(self) -> "Entries":
        """What is remembered, by place."""
        return Entries(self._names, self._parts)

    def places(self, texts: Sequence[Sequence[str]]) -> list[Rows]:
        """The places of each text's words among the entries."""
        with self._lock:
            places, found = self._places, []
            for text in texts:
                for word in text:
                    if word not in places:
                        self._add(word)
                found.append(np.fromiter(map(places.__getitem__, text), np.int64, len(text)))
            return found

    def words(self, names: Rows) -> list[str]:
        """The words that these numbers stand for, as far as they are remembered."""
        with self._lock:
            by_name = {int(self._names[place]): word for word, place in self._places.items()}
        return [by_name.get(name, "?") for name in names.tolist()]

    def _add(self, word: str) -> None:
        place = len(self._places)
        if place == len(self._names):  # new arrays: those given away stay as they are
            self._names = np.concatenate([self._names, np.zeros_like(self._names)])
            self._parts = np.concatenate([self._parts, np.zeros_like(self._parts)])
        found = features(word, self._buckets)
        self._names[place] = name_of(word)
        self._parts[place, : len(found)] = found
        self._places[word] = place


class Entries:
    """Words by their places: `names` [w] and buckets of features `parts` [w, PARTS], 0 where there are fewer."""

    def __init__(self, names: Rows, parts: NDArray[np.int32]) -> None:
        self.names = names
        self.parts = parts
