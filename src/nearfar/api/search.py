"""Search an embedding for what is nearest to a sample or a vector."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.embeddings import Embeddings, holds_embeddings
from nearfar.data.location import files_of, is_pattern
from nearfar.errors import ConfigError, DataError, UserError, must

if TYPE_CHECKING:
    from nearfar.contract import Encoder


@dataclass(frozen=True)
class Hit:
    """A sample that was found: its key, its cosine similarity to the query in [-1, 1], and its label by name.

    `path` is the file that holds it, with the place within where there are more in it; None where that is not known.
    `text` is what it says, where the data is still there and can be read.
    """

    key: str
    similarity: float
    label: str | None = None
    path: str | None = None
    text: str | None = None


def search(
    embeddings: Embeddings | str | os.PathLike[str], query: Any, k: int = 10, *, encoder: "Encoder | None" = None
) -> list[Hit]:
    """The `k` samples nearest to `query` by cosine, nearest first; exact.

    `query` is a vector [D] of numbers, the key of a sample of the embedding, or, with the `encoder`, a sample as that
    one takes it: a path, `FILE#3` for row 3 of a file, a row as a mapping or as JSON text ... Raises UserError.
    """
    import torch

    from nearfar.evaluation.knn import nearest

    must(k >= 1, "k must be at least 1", got=k)
    if isinstance(embeddings, str | os.PathLike):
        embeddings = Embeddings.load(embeddings)
    if not len(embeddings):
        raise DataError("There is nothing to search: the embedding is empty.")
    vector = _vector(query, embeddings, encoder)
    if vector.shape != (embeddings.vectors.shape[1],):
        raise DataError(
            f"The query has shape {list(vector.shape)}, the embedding's vectors have {embeddings.vectors.shape[1]} "
            "dimensions: was it made by another encoder?"
        )
    if not np.isfinite(vector).all():
        raise DataError("The query's vector is not finite.")
    similar, rows = nearest(torch.from_numpy(embeddings.vectors), torch.from_numpy(vector)[None], k)
    labels = embeddings.labels or [None] * len(embeddings)
    return [
        Hit(key := embeddings.keys[row], round(similarity, 6), labels[row], _path(key, embeddings.origin))
        for similarity, row in zip(similar[0].tolist(), rows[0].tolist(), strict=True)
    ]


def search_run(
    run: str | os.PathLike[str],
    queries: Sequence[Any],
    k: int = 10,
    *,
    within: str | os.PathLike[str] | None = None,
    device: str | None = None,
) -> list[list[Hit]]:
    """The `k` samples nearest to each query by the encoder of a run, as `search` finds them.

    They are looked for `within` a file of embeddings, or within data, which is embedded first; in the run's own
    embeddings when nothing is given. Raises UserError.
    """
    from nearfar.api.embed import embed
    from nearfar.api.load import load_on

    encoder, _ = load_on(run, device)
    own = Path(run) / "embeddings.parquet"
    if within is None and not own.is_file():
        raise ConfigError(
            f"{os.fspath(run)!r} keeps no embeddings: say where to look by --in FILE.parquet or --in DATA."
        )
    if within is None or holds_embeddings(within, encoder.dim):
        embeddings = Embeddings.load(own if within is None else within)
    else:
        embeddings = embed(encoder, within)
    found = [search(embeddings, query, k, encoder=encoder) for query in queries]
    texts = _texts(encoder, embeddings.origin, [hit.key for hits in found for hit in hits if not _is_file(hit)])
    return [[replace(hit, text=texts.get(hit.key)) for hit in hits] for hits in found]


def _vector(query: Any, embeddings: Embeddings, encoder: "Encoder | None") -> NDArray[np.float32]:
    """The query as a vector: itself where it is one, else that of a sample."""
    given = query.detach().cpu().numpy() if hasattr(query, "detach") else query
    if isinstance(given, str):
        return _of_text(given, embeddings, encoder)
    floats = isinstance(given, np.ndarray) and given.ndim == 1 and given.dtype.kind == "f"
    if encoder is not None and not floats and encoder.is_sample(given):
        return encoder.encode(given)
    if isinstance(given, os.PathLike | Mapping):
        raise ConfigError("To search by a sample, give the encoder that made the embedding: search(..., encoder=...).")
    try:
        return np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError):
        raise DataError(f"A query is a vector of numbers or a sample for the encoder, got {given!r:.100}.") from None


def _of_text(query: str, embeddings: Embeddings, encoder: "Encoder | None") -> NDArray[np.float32]:
    """A text as a vector: a file's, that of a key of the embedding, of a row as JSON, or of a row of a file."""
    is_file = os.path.exists(query)
    if not (is_file and encoder is not None) and query in embeddings.keys:
        vector: NDArray[np.float32] = embeddings.vectors[embeddings.keys.index(query)]
        return vector
    if encoder is None:
        raise ConfigError(
            f"{query!r} is no key of the embedding. To search by a sample, give the encoder that made the embedding: "
            "search(..., encoder=...)."
        )
    if query.lstrip().startswith(("{", "[")) and not is_file:
        return _of_json(query, encoder)
    file, mark, place = query.rpartition("#")
    if mark and not is_file and os.path.isfile(file):
        return _of_row(encoder, file, place)
    try:
        return encoder.encode(query)
    except DataError as error:
        raise DataError(
            f"{query!r:.100} is neither a key of the embedding nor a sample for its encoder. {error} A row of a file "
            "is FILE#3, or the row itself as JSON."
        ) from None


def _of_json(query: str, encoder: "Encoder") -> NDArray[np.float32]:
    """The vector of a row as JSON, or of a text that only begins like one."""
    try:
        row = json.loads(query)
        problem = "no sample for this encoder"
    except ValueError as error:
        row, problem = None, f"no JSON: {error}"
    if row is not None and encoder.is_sample(row):
        return encoder.encode(row)
    try:
        return encoder.encode(query)
    except DataError:
        raise DataError(f"The query {query:.100} is {problem}.") from None


def _texts(encoder: "Encoder", origin: str | None, keys: Sequence[str]) -> dict[str, str]:
    """What samples say, by their keys; nothing where the data is gone or has changed."""
    from nearfar.api.sources import open_for

    if origin is None or not keys:
        return {}
    try:
        source = open_for(encoder, origin, split="all", grow=False)
        wanted = set(keys)
        rows = [row for row, key in enumerate(source.keys) if key in wanted]
        return {card.key: card.text for card in source.cards(np.array(rows, dtype=np.int64)) if card.text}
    except UserError:
        return {}


def _is_file(hit: Hit) -> bool:
    """Whether the sample is a file of its own, which its path shows."""
    return hit.path is not None and os.path.isfile(hit.path)


def _of_row(encoder: "Encoder", file: str, place: str) -> NDArray[np.float32]:
    """The vector of the sample that stands at `place` in a file: a row's number, or what its key ends with."""
    import torch

    from nearfar.api.sources import open_for

    source = open_for(encoder, file, grow=False)
    name = f"{os.path.basename(file)}#{place}"
    row = next((i for i, key in enumerate(source.keys) if key == name), None)
    if row is None and place.isdecimal() and int(place) < len(source):
        row = int(place)
    if row is None:
        raise DataError(f"There is no sample {place!r} in {file!r}, which has {len(source)}.")
    raw, kept = source.fetch(np.array([row]))
    if not len(kept):
        reason = next((one.reason for one in source.skipped if one.key == source.keys[row]), "it cannot be read")
        raise DataError(f"The query {file}#{place} cannot be used: {reason}.")
    with torch.no_grad():
        found: NDArray[np.float32] = encoder.eval().vectors(encoder.prepare(raw))[0].float().cpu().numpy()
    return found


def _path(key: str, origin: str | None) -> str | None:
    """The file of a sample, where it is there."""
    if origin is None:
        return None
    paths = {os.path.join(folder, key) for folder in _folders_of(origin)}
    there = [path for path in paths if os.path.exists(path) or os.path.exists(path.rpartition("#")[0])]
    return there[0] if len(there) == 1 else None


def _folders_of(origin: str) -> list[str]:
    """The folders that keys of the data at `origin` may be relative to."""
    if os.path.isdir(origin):
        return [origin, os.path.join(origin, "data")]
    if os.path.exists(origin) or not is_pattern(origin):
        return [os.path.dirname(origin)]
    try:
        return [os.path.dirname(file) for file in files_of(origin)]
    except DataError:
        return []
