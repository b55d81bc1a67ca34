"""Texts as samples: lines, cells or files, decoded when they are read."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from nearfar.contract import Card, Skipped, Source
from nearfar.data.contents import reason_of

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from nearfar.contract import Rows

_ON_A_CARD = 400  # characters
_HASHED = 2_048
_BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}

log = logging.getLogger("nearfar")


@dataclass(frozen=True)
class Texts:
    """A raw batch."""

    strings: Sequence[str]

    def __len__(self) -> int:
        return len(self.strings)


class TextSource(Source):
    """N texts; those that hold nothing but spaces are left out and listed."""

    def text(self, row: int) -> str:
        """One text; raises OSError where there is none."""
        text, sure = decoded(self.samples.bytes(row))
        if not sure:
            _tell(self.name, self.keys[row])
        return text

    def fetch(self, rows: Rows) -> tuple[Texts, Rows]:
        """These texts, and the rows that are in them: empty and unreadable ones are left out and listed."""
        strings, kept, reading = [], [], self.reading
        for row in np.asarray(rows, dtype=np.int64).tolist():
            place = int(self.at[row])
            if reading.unreadable[place]:
                continue
            try:
                text = self.text(row)
            except OSError as error:
                self.refuse(row, reason_of(error))
                continue
            if not text.strip():
                self.refuse(row, "no text in it")
                continue
            if not reading.tried[place]:
                reading.ids[place] = _id(text)
                reading.tried[place] = True
            strings.append(text)
            kept.append(row)
        reading.check()
        return Texts(strings), np.array(kept, dtype=np.int64)

    def some(self, most: int) -> list[str]:
        """At most so many of the texts, evenly taken."""
        rows = np.unique(np.linspace(0, len(self) - 1, min(len(self), most)).astype(np.int64))
        return list(self.fetch(rows)[0].strings)

    def about(self, rows: Rows) -> Mapping[str, pa.Array]:
        """The text of each beside what all data has, of texts that are cells of a table."""
        import pyarrow as pa

        numbers = np.asarray(rows, dtype=np.int64).tolist()
        if any(self.samples.path(row) is not None for row in numbers[:1]):
            return super().about(rows)
        return {**super().about(rows), "text": pa.array([self.text(row) for row in numbers], pa.large_string())}

    def content(self) -> Tensor:
        """How often each three letters in a row come, hashed `[N, 2048]`: a text and one without a word are near."""
        import torch
        from sklearn.feature_extraction.text import HashingVectorizer

        strings = self.fetch(np.arange(len(self)))[0].strings
        found = HashingVectorizer(n_features=_HASHED, analyzer="char_wb", ngram_range=(3, 3)).transform(strings)
        return torch.from_numpy(found.toarray().astype(np.float32))

    def defects(self, rows: Rows) -> list[Skipped]:
        """Texts without a letter or a digit."""
        found = []
        for row in np.asarray(rows).tolist():
            try:
                text = self.text(row)
            except OSError:
                continue
            if not any(map(str.isalnum, text)):
                found.append(Skipped(self.keys[row], f"no letter and no digit in it: {shortened(text)[:40]}"))
        return found

    def cards(self, rows: Rows) -> list[Card]:
        """The texts, shortened."""
        found = []
        for card, row in zip(super().cards(rows), np.asarray(rows).tolist(), strict=True):
            try:
                found.append(replace(card, text=shortened(self.text(row))))
            except OSError:
                found.append(card)
        return found


def decoded(raw: bytes) -> tuple[str, bool]:
    """Bytes as text, and whether they are surely that: what is neither UTF-8 nor marked as UTF-16 is guessed."""
    encoding = next((name for mark, name in _BOMS.items() if raw.startswith(mark)), "utf-8")
    try:
        return raw.decode(encoding), True
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace"), False


@lru_cache(maxsize=256)
def _tell(name: str, key: str) -> None:
    """Say it, once for each text."""
    log.warning(
        "%s: %r is no UTF-8, and read as Windows' Western text; convert what is not: iconv -f gb18030 -t utf-8",
        *(name, key),
    )


def shortened(text: str) -> str:
    """The beginning of a text, as a card shows it."""
    text = text.strip()
    return text if len(text) <= _ON_A_CARD else text[: _ON_A_CARD - 3].rstrip() + "..."


def _id(text: str) -> int:
    """A number below 0 that equal texts have in common."""
    return -1 - (int.from_bytes(blake2b(text.strip().encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1)
