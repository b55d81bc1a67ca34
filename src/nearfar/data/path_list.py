"""Lists of files in text: one path a line, or one sample a line where texts are the samples."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nearfar.data.folder import extension_of
from nearfar.data.json_lines import lines_of
from nearfar.data.strings import StringsBuilder
from nearfar.data.table_file import Columns, TableFile


class PathList(TableFile):
    """A `.txt` or `.lst` file: its one column has the lines, without those that are empty."""

    def __init__(self, file: Path, column: str) -> None:
        super().__init__(file)
        self.names = (column,)

    def read(self, at: Sequence[int]) -> Columns:
        """The lines as they stand, and their numbers."""
        cells, numbers = StringsBuilder(), list[int]()
        for number, line in enumerate(lines_of(self.file)):
            if line.strip():
                cells.append(line.rstrip("\r\n"))
                numbers.append(number)
        return Columns([cells.finish().array] * len(at), np.array(numbers, dtype=np.int64))

    def first_without(self, extensions: frozenset[str]) -> str | None:
        """The first line, where none of the first thousand ends as one of `extensions`."""
        head = [line.strip() for line in itertools.islice(lines_of(self.file), 1000) if line.strip()]
        if not head or any(extension_of(line) in extensions for line in head):
            return None
        return head[0]
