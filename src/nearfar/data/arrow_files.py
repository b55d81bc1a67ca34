"""Files for Arrow, whatever their names: of a path it takes `a:b` for a web address, and refuses what is not UTF-8."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def reading(path: str | os.PathLike[str]) -> "pa.NativeFile":
    """The file, opened to be read; raises OSError."""
    import pyarrow as pa

    return pa.OSFile(os.fsencode(path))


def mapped(path: str | os.PathLike[str]) -> "pa.NativeFile":
    """The file, mapped into memory to be read; raises OSError."""
    import pyarrow as pa

    return pa.memory_map(os.fsencode(path))


def writing(path: str | os.PathLike[str]) -> "pa.NativeFile":
    """The file, opened to be written from its start; raises OSError."""
    import pyarrow as pa

    return pa.OSFile(os.fsencode(path), mode="wb")
