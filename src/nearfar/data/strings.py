"""Millions of short strings in one Arrow array, not as Python objects."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.int64]

_CHUNK = 4096


class Strings(Sequence[str]):
    """N strings over an Arrow array of bytes: 8 bytes each, beside their own in UTF-8.

    Equal to any sequence of the same strings. Undecodable bytes of file names survive as Python writes them
    (`surrogateescape`). `array` is the Arrow array, `large_binary` [N] without nulls.
    """

    def __init__(self, array: "pa.LargeBinaryArray") -> None:
        self.array = array

    @classmethod
    def of(cls, strings: Iterable[str]) -> "Strings":
        """The strings of any iterable, which is read once."""
        if isinstance(strings, Strings):
            return strings
        builder = StringsBuilder()
        for string in strings:
            builder.append(string)
        return builder.finish()

    @classmethod
    def of_column(cls, column: "pa.Array | pa.ChunkedArray") -> "Strings":
        """The cells of a column of texts, bytes or numbers as they stand; a null is an empty string."""
        import pyarrow as pa

        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if not pa.types.is_large_binary(column.type):
            is_text = str(column.type) in ("string", "string_view", "binary", "binary_view", "large_string")
            column = (column if is_text else column.cast(pa.large_string())).cast(pa.large_binary())
        return cls(column.fill_null(b"") if column.null_count else column)

    @classmethod
    def empty(cls, count: int) -> "Strings":
        """`count` empty strings."""
        return cls(_binary(np.zeros(count + 1, dtype=np.int64), b""))

    @classmethod
    def joined(cls, parts: "Sequence[Strings]") -> "Strings":
        """The strings of all parts, one after another."""
        import pyarrow as pa

        if len(parts) == 1:
            return parts[0]
        return cls(pa.concat_arrays([part.array for part in parts])) if parts else cls.empty(0)

    def take(self, rows: Rows) -> "Strings":
        """These strings, in this order."""
        return Strings(self.array.take(indices(rows)))

    def matching(self, pattern: str) -> NDArray[np.bool_]:
        """[N]: whether a string has the pattern in it, a regular expression over bytes."""
        import pyarrow.compute as pc

        found: NDArray[np.bool_] = pc.match_substring_regex(self.array, pattern).to_numpy(zero_copy_only=False)
        return found.astype(bool)

    @property
    def any(self) -> bool:
        """Whether any string is more than empty."""
        import pyarrow.compute as pc

        return bool(pc.any(pc.greater(pc.binary_length(self.array), 0)).as_py())

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "Strings": ...
    def __getitem__(self, index: int | slice) -> "str | Strings":
        if isinstance(index, slice):
            return Strings(self.array[index])
        found: bytes = self.array[int(index)].as_py()
        return found.decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _CHUNK):
            for found in self.array.slice(first, _CHUNK).to_pylist():
                yield found.decode("utf-8", "surrogateescape")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        more = f", ... {len(self):,} in all" if len(self) > 6 else ""
        return f"Strings({', '.join(map(repr, self[:6]))}{more})"


class StringsBuilder:
    """Takes strings one by one, and keeps their bytes alone."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._sizes = array("q", [0])
        self._chunk: list[bytes] = []

    def append(self, string: str) -> None:
        """One more string."""
        try:
            raw = string.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half a character, as JSON can write it: no file's name has one
            raw = string.encode("utf-8", "backslashreplace")
        self._chunk.append(raw)
        if len(self._chunk) == _CHUNK:
            self._flush()

    def finish(self) -> Strings:
        """All strings so far."""
        self._flush()
        return Strings(_binary(np.cumsum(np.array(self._sizes, dtype=np.int64)), bytes(self._buffer)))

    def _flush(self) -> None:
        self._buffer += b"".join(self._chunk)
        self._sizes.extend(map(len, self._chunk))
        self._chunk.clear()


def indices(rows: Rows) -> "pa.Int64Array":
    """Row numbers as Arrow takes them; not by `pa.array`, which imports pandas where it is installed."""
    import pyarrow as pa

    numbers = np.ascontiguousarray(rows, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def _binary(offsets: Rows, content: bytes) -> "pa.LargeBinaryArray":
    import pyarrow as pa

    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(content)]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)
