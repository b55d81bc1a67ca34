"""A million short texts as one buffer of bytes and two arrays of places, not as a million objects."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

_CHUNK = 4096


class Texts(Sequence[str]):
    """N texts, made when asked for: 16 bytes each, beside their own in UTF-8.

    Equal to any sequence of the same texts. Undecodable bytes of file names survive as Python writes them
    (`surrogateescape`).
    """

    def __init__(self, buffer: bytes, starts: Rows, stops: Rows) -> None:
        self._buffer = buffer
        self._starts = starts
        self._stops = stops

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        """The texts of any iterable, which is read once."""
        if isinstance(texts, Texts):
            return texts
        writer = Writer()
        for text in texts:
            writer.append(text)
        return writer.texts()

    @classmethod
    def empty(cls, count: int) -> "Texts":
        """`count` empty texts."""
        nowhere = np.zeros(count, dtype=np.int64)
        return cls(b"", nowhere, nowhere)

    @classmethod
    def joined(cls, parts: "Sequence[Texts]") -> "Texts":
        """The texts of all parts, one after another."""
        if len(parts) == 1:
            return parts[0]
        before = np.cumsum([0, *(len(part._buffer) for part in parts)])
        none = [np.zeros(0, dtype=np.int64)]
        return cls(
            b"".join(part._buffer for part in parts),
            np.concatenate(none + [part._starts + at for part, at in zip(parts, before, strict=False)]),
            np.concatenate(none + [part._stops + at for part, at in zip(parts, before, strict=False)]),
        )

    def take(self, rows: Rows) -> "Texts":
        """These texts, in this order; their bytes are shared."""
        return Texts(self._buffer, self._starts[rows], self._stops[rows])

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "Texts": ...
    def __getitem__(self, index: int | slice) -> "str | Texts":
        if isinstance(index, slice):
            return Texts(self._buffer, self._starts[index], self._stops[index])
        return self._buffer[self._starts[index] : self._stops[index]].decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _CHUNK):
            starts, stops = (places[first : first + _CHUNK].tolist() for places in (self._starts, self._stops))
            for start, stop in zip(starts, stops, strict=True):
                yield self._buffer[start:stop].decode("utf-8", "surrogateescape")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        more = f", ... {len(self):,} in all" if len(self) > 6 else ""
        return f"Texts({', '.join(map(repr, self[:6]))}{more})"


class Writer:
    """Takes texts one by one, and keeps them as `Texts` do."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._sizes = array("q")
        self._chunk: list[bytes] = []

    def append(self, text: str) -> None:
        """One more text."""
        try:
            raw = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half a character, as JSON can write it: no file's name has one
            raw = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
        self._chunk.append(raw)
        if len(self._chunk) == _CHUNK:
            self._flush()

    def texts(self) -> Texts:
        """All texts so far."""
        self._flush()
        stops = np.cumsum(np.array(self._sizes, dtype=np.int64))
        starts = np.zeros(len(stops), dtype=np.int64)
        starts[1:] = stops[:-1]
        return Texts(bytes(self._buffer), starts, stops)

    def _flush(self) -> None:
        self._buffer += b"".join(self._chunk)
        self._sizes.extend(map(len, self._chunk))
        self._chunk.clear()
