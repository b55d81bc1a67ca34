"""The arrays in `.npy` and `.npz` files, mapped where they lie in them uncompressed; no pickle is ever read."""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.contents import reason_of
from nearfar.data.keys import printable
from nearfar.errors import DataError
from nearfar.memory import available_memory

_LOCAL_HEADER = 30


def arrays(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name; raises DataError."""
    with _as_data_error(file):
        if file.suffix.lower() == ".npy":
            return {file.stem: np.lib.format.open_memmap(file, mode="r")}
        with zipfile.ZipFile(file) as archive:
            return {name: _member(file, archive, entry) for name, entry in _entries(archive).items()}


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's arrays by name, from their headers alone; raises DataError.

    Fields of a structured array count as its columns.
    """
    with _as_data_error(file):
        if file.suffix.lower() == ".npy":
            with open(file, "rb") as raw:
                return {file.stem: _shape(raw)}
        with zipfile.ZipFile(file) as archive:
            found = {}
            for name, entry in _entries(archive).items():
                with archive.open(entry) as member:
                    found[name] = _shape(member)
            return found


@contextmanager
def _as_data_error(file: Path) -> Iterator[None]:
    """Whatever goes wrong inside becomes a DataError that names the file."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{printable(str(file))!r} cannot be read: {reason_of(error)}.") from None
    except Exception as error:  # of a damaged header, zipfile and numpy raise nearly anything
        why = str(error)[:200] or type(error).__name__
        raise DataError(f"{printable(str(file))!r} is no file of arrays without pickle: {why}.") from None


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {Path(entry.filename).stem: entry for entry in archive.infolist() if entry.filename.endswith(".npy")}


def _header(raw: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and type."""
    version = np.lib.format.read_magic(raw)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    found: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(raw)
    if found[2].hasobject:
        raise ValueError("it holds Python objects: save numbers or texts")
    return found


def _shape(raw: IO[bytes]) -> tuple[int, ...]:
    shape, _, kind = _header(raw)
    return shape if kind.names is None else (*shape, len(kind.names))


def _check_size(shape: tuple[int, ...], kind: np.dtype[Any], said: int) -> None:
    """Refuse what cannot be unpacked, before it is."""
    wanted = math.prod(shape) * kind.itemsize
    if wanted > said or min(shape, default=0) < 0:
        raise ValueError(f"its header speaks of {wanted} bytes, and {said} are there")
    if wanted > (free := available_memory()):
        raise ValueError(f"unpacked it takes {wanted / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are free")


def _member(file: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    if entry.compress_type != zipfile.ZIP_STORED:
        with archive.open(entry) as member:
            shape, _, kind = _header(member)
            _check_size(shape, kind, entry.file_size)
        with archive.open(entry) as member:
            array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
            return array
    with open(file, "rb") as raw:
        raw.seek(entry.header_offset + _LOCAL_HEADER - 4)
        name, extra = (int.from_bytes(raw.read(2), "little") for _ in range(2))  # the header ends with two lengths
        raw.seek(name + extra, 1)
        shape, fortran, kind = _header(raw)
        if 0 in shape:
            return np.empty(shape, kind)
        return np.memmap(file, kind, "r", raw.tell(), shape, "F" if fortran else "C")
