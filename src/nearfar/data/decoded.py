"""Samples that are of one size once decoded, as records of bytes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.contract import Reading, Rows, Unreadable
from nearfar.data.kept import Bytes, Kept
from nearfar.data.record_file import digest
from nearfar.data.samples import Samples


class Decoded(Kept):
    """All N samples as records of `size` bytes, each with a number, its note; shared by all sources of the samples.

    `decode` fills a record with what a row holds and returns its note; it raises Unreadable, and is called by `threads`
    at a time. Records of at most `quick` bytes are quicker decoded than looked up. `form` says how they are made, and
    `how` are the further arguments of `Kept`.
    """

    def __init__(
        self,
        samples: Samples,
        reading: Reading,
        decode: Callable[[int, Bytes], float],
        *,
        size: int,
        form: Mapping[str, Any],
        name: str,
        quick: int = 0,
        threads: int = 1,
        **how: Any,
    ) -> None:
        super().__init__(samples, reading, threads=threads, **how)
        self.size = size
        self._decode = decode
        self._open(len(samples), (size,), form, name, quick=size <= quick)

    def fetch(self, rows: Rows) -> tuple[Bytes, NDArray[np.float64], Rows]:
        """The records of these rows `[n, size]`, their notes [n], and the places in `rows` of the readable ones."""
        found = np.empty((len(rows), self.size), dtype=np.uint8)
        wanted = np.flatnonzero(~self.reading.unreadable[rows])
        if self._memory is not None:
            kept = wanted[self._kept[rows[wanted]]]
            found[kept] = self._memory[rows[kept]]
        else:
            for place in wanted[self._kept[rows[wanted]]].tolist():
                self._kept[rows[place]] = self._again(int(rows[place]), found[place])
        self._fill_new(rows, wanted[~self._kept[rows[wanted]]], found, self._made)
        self.reading.check()
        good = np.flatnonzero(~self.reading.unreadable[rows])
        return (found if len(good) == len(rows) else found[good]), self.notes[rows[good]], good

    def _made(self, row: int, out: Bytes) -> bool:
        """Decode a sample into `out`; False where it is unreadable."""
        try:
            note = self._decode(row, out)
        except Unreadable as error:
            self.reading.refuse(row, str(error))
            return False
        self.reading.ids[row], self.notes[row] = digest(out, note), note
        self.reading.tried[row] = True
        return True
