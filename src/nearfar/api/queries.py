"""What a user searches by: a key, a sample of any form, or a vector."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.api.sample import found_in, row_of
from nearfar.errors import ConfigError, DataError

if TYPE_CHECKING:
    from nearfar.contract import Encoder
    from nearfar.inspection.search.index import Index

Vector = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Query:
    """A query by its `name`, its vector [D], and what it is: the key of a sample, a file of one, a text, or neither.

    `place` is the row of a `file` that it is.
    """

    name: str
    vector: Vector
    key: str | None = None
    file: str | None = None
    place: int = 0
    text: str | None = None


def read(query: Any, index: "Index", encoder: "Encoder | None", *, files: bool = True) -> list[Query]:
    """The query, or several where it is a file of vectors [Q, D].

    Without `files` no file is opened, whatever the text of the query. Raises UserError.
    """
    given = query.detach().cpu().numpy() if hasattr(query, "detach") else query
    if isinstance(given, os.PathLike):
        given = os.fspath(given) if os.fspath(given).lower().endswith(".npy") or encoder is None else given
    found = _of_text(given, index, encoder, files) if isinstance(given, str) else [_of_object(given, encoder)]
    for one in found:
        _check(one, index.vectors.shape[1])
    return found


def _check(query: Query, dim: int) -> None:
    if query.vector.shape != (dim,):
        raise DataError(
            f"The query has shape {list(query.vector.shape)}, the embedding's vectors have {dim} dimensions: was it "
            "made by another encoder?"
        )
    if not np.isfinite(query.vector).all():
        raise DataError("The query's vector is not finite.")


def _of_object(given: Any, encoder: "Encoder | None") -> Query:
    """A vector, or a sample that is no text."""
    floats = isinstance(given, np.ndarray) and given.ndim == 1 and given.dtype.kind == "f"
    if encoder is not None and not floats and encoder.is_sample(given):
        file = os.fspath(given) if isinstance(given, os.PathLike) else None
        text = to_text(given) if isinstance(given, Mapping) else None
        return Query(file or text or "sample", encoder.encode(given), file=file, text=text)
    if isinstance(given, os.PathLike | Mapping):
        raise ConfigError("To search by a sample, give the encoder that made the embedding: search(..., encoder=...).")
    try:
        return Query("vector", np.asarray(given, dtype=np.float32))
    except (TypeError, ValueError):
        raise DataError(f"A query is a vector of numbers or a sample for the encoder, got {given!r:.100}.") from None


def _of_text(query: str, index: "Index", encoder: "Encoder | None", files: bool) -> list[Query]:
    """A file's vectors or sample, a key of the embedding, a vector or a row as JSON, a row of a file, or a text."""
    dim = index.vectors.shape[1]
    is_file = files and os.path.exists(query)
    if not (is_file and encoder is not None) and (row := index.row_of(query)) is not None:
        return [Query(query, index.vectors[row].numpy(), key=query)]
    if is_file and query.lower().endswith(".npy") and (vectors := _stored(query, dim)) is not None:
        many = len(vectors) > 1
        return [Query(f"{query}#{i}" if many else query, row) for i, row in enumerate(vectors)]
    if not is_file and (vector := _written(query, dim, encoder)) is not None:
        return [Query(f"{query[:40]}..." if len(query) > 43 else query, vector)]
    if encoder is None:
        raise ConfigError(
            f"{query!r} is no key of the embedding. To search by a sample, give the encoder that made the embedding: "
            "search(..., encoder=...)."
        )
    if not files:
        if (sample := encoder.typed(query)) is None:
            raise DataError(f"{query!r:.100} is no key of the embedding, and this encoder takes no texts.")
        return [Query(query, encoder.encode(sample), text=query)]
    if query.lstrip().startswith(("{", "[")) and not is_file:
        return [_of_json(query, encoder)]
    file, mark, place = query.rpartition("#")
    if mark and not is_file and os.path.isfile(file):
        return [_of_row(encoder, file, place)]
    try:
        vector = encoder.encode(query)
    except DataError as error:
        raise DataError(
            f"{query!r:.100} is neither a key of the embedding nor a sample for its encoder. {error} A row of a file "
            "is FILE#3, or the row itself as JSON."
        ) from None
    return [Query(query, vector, file=query if is_file else None, text=None if is_file else query)]


def to_text(row: Any) -> str:
    """A row as JSON text, for people."""
    return json.dumps(row, ensure_ascii=False, default=str)


def _stored(file: str, dim: int) -> Vector | None:
    """The vectors [Q, D] in a .npy file; None where it holds something else, such as samples."""
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{file!r} cannot be read as an array: {str(error)[:100]}.") from None
    if found.dtype.kind != "f" or found.ndim not in (1, 2) or found.shape[-1] != dim or not found.size:
        return None
    return np.array(found, dtype=np.float32).reshape(-1, dim)


def _written(query: str, dim: int, encoder: "Encoder | None") -> Vector | None:
    """The vector that a JSON list of numbers is; None where it is something else, such as a row for the encoder."""
    if not query.lstrip().startswith("["):
        return None
    try:
        row = json.loads(query)
    except (ValueError, RecursionError):
        return None
    if not row or not all(isinstance(x, int | float) and not isinstance(x, bool) for x in row):
        return None
    if len(row) != dim and encoder is not None and encoder.is_sample(row):
        return None
    return np.array(row, dtype=np.float32)


def _of_json(query: str, encoder: "Encoder") -> Query:
    """A row as JSON, or a text that only begins like one."""
    try:
        row = json.loads(query)
        problem = "no sample for this encoder"
    except (ValueError, RecursionError) as error:
        row, problem = None, f"no JSON: {error}"
    if row is not None and encoder.is_sample(row):
        return Query(query, encoder.encode(row), text=query)
    try:
        return Query(query, encoder.encode(query), text=query)
    except DataError:
        raise DataError(f"The query {query:.100} is {problem}.") from None


def _of_row(encoder: "Encoder", file: str, place: str) -> Query:
    """The sample that stands at `place` in a file: a row's number, or what its key ends with."""
    import torch

    source, row = found_in(encoder, file, place)
    with torch.no_grad():
        vector: Vector = encoder.eval().vectors(row_of(encoder, source, row))[0].float().cpu().numpy()
    return Query(f"{file}#{place}", vector, file=file, place=row)
