"""A file of embeddings in a form that can be mapped into memory, kept beside it: `.NAME.index/`.

Parquet is compressed in pages and cannot be mapped. The twin has the vectors, scaled to length one, as a .npy, and all
other columns as an Arrow file. It belongs to one state of its file, by a fingerprint, and is made anew for another.
"""

import logging
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.data.arrow_files import mapped, reading, writing
from nearfar.data.embeddings import Embeddings, check_path, keys_file
from nearfar.errors import DataError, NearfarError
from nearfar.evaluation.knn import unit_rows
from nearfar.files import draft_of, locked, read_json, write_json

if TYPE_CHECKING:
    import pyarrow as pa

VECTORS, ROWS, ABOUT = "vectors.npy", "rows.arrow", "index.json"
_FORMAT = 1
_ENDS = 2**16
_log = logging.getLogger("nearfar")


def folder_of(path: Path) -> Path:
    """Where the twin of a file is kept."""
    return path.absolute().with_name(f".{path.name}.index")


def fingerprint(path: Path) -> str:
    """What tells a state of a file from others: its size, when it was written, and its two ends."""
    about = path.stat()
    found = blake2b(f"{_FORMAT} {about.st_size} {about.st_mtime_ns}".encode(), digest_size=16)
    with path.open("rb") as file:
        found.update(file.read(_ENDS))
        file.seek(max(0, about.st_size - _ENDS))
        found.update(file.read())
    if (beside := keys_file(path)).is_file() and path.suffix.lower() == ".npy":
        found.update(f"{beside.stat().st_size} {beside.stat().st_mtime_ns}".encode())
    return found.hexdigest()


def is_current(path: Path) -> bool:
    """Whether the twin of a file is there and of the file's present state."""
    try:
        return bool(read_json(folder_of(path) / ABOUT)["fingerprint"] == fingerprint(path))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def make(path: Path) -> None:
    """Write the twin of a file of embeddings, part by part; raises DataError, and as `files.draft_of`."""
    folder, state = folder_of(path), fingerprint(path)
    folder.mkdir(exist_ok=True)
    with locked(folder / ".lock", what=repr(str(folder))):
        if is_current(path):  # by another process, meanwhile
            return
        for old in folder.iterdir():
            if old.name != ".lock":
                old.unlink()
        _log.info("%s is made ready to be searched: its vectors are written to %s", path.name, folder)
        count, dim, rows, parts = _read(path)
        with draft_of(folder / VECTORS) as draft, draft.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (count, dim)})
            for part in parts:
                file.write(np.ascontiguousarray(unit_rows(torch.from_numpy(part)).numpy(), dtype="<f4").data)
        import pyarrow as pa

        with draft_of(folder / ROWS) as draft, writing(draft) as sink, pa.ipc.new_file(sink, rows.schema) as table:
            table.write_table(rows)
        write_json(folder / ABOUT, {"fingerprint": state})


def load(path: Path) -> "tuple[torch.Tensor, pa.Table]":
    """The vectors of length one [N, D] and the other columns, mapped; the twin must be current."""
    import pyarrow as pa

    folder = folder_of(path)
    vectors = np.load(folder / VECTORS, mmap_mode="c", allow_pickle=False)  # "c": torch wants memory to write to
    return torch.from_numpy(vectors), pa.ipc.open_file(mapped(folder / ROWS)).read_all()


def rows_of(embeddings: Embeddings) -> "pa.Table":
    """The columns beside the vectors: key, label where there are labels, and further ones."""
    import pyarrow as pa

    columns = {"key": pa.array(embeddings.keys, pa.large_string())}
    if embeddings.labels is not None:
        columns["label"] = pa.array(embeddings.labels, pa.large_string())
    if embeddings.about is not None:
        columns |= {name: embeddings.about[name].combine_chunks() for name in embeddings.about.column_names}
    return pa.table(columns)


def _read(path: Path) -> "tuple[int, int, pa.Table, Iterator[NDArray[np.float32]]]":
    """The number of vectors and of dimensions, the other columns, and the vectors part by part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if check_path(path) == ".npy":
            found = Embeddings.load(path)
            return *found.vectors.shape, rows_of(found), iter(np.array_split(found.vectors, len(found) // 2**16 + 1))
        file = pq.ParquetFile(reading(path))
        kind = file.schema_arrow.field("vector").type
        if not isinstance(kind, pa.FixedSizeListType) or file.metadata.num_rows == 0:
            found = Embeddings.load(path)
            return *found.vectors.shape, rows_of(found), iter([found.vectors])
        names = [name for name in file.schema_arrow.names if name != "vector"]
        rows = file.read(names).combine_chunks()
        if rows["key"].null_count:
            raise DataError(f"{str(path)!r} holds a vector without a key.")
        return file.metadata.num_rows, kind.list_size, rows, _vectors(file, kind.list_size)
    except NearfarError:
        raise
    except Exception as error:  # of an altered file, arrow raises nearly anything
        raise DataError(f"{str(path)!r} cannot be read as embeddings: {str(error)[:200]}") from None


def _vectors(file: "pa.parquet.ParquetFile", dim: int) -> Iterator[NDArray[np.float32]]:
    for batch in file.iter_batches(2**16, columns=["vector"]):
        flat = batch.column(0).flatten().to_numpy(zero_copy_only=False)
        yield np.array(flat.reshape(-1, dim), dtype=np.float32)
