"""Change a file of embeddings: add samples to it, delete some."""

import difflib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.data.embeddings import Embeddings, joined
from nearfar.errors import ConfigError, DataError
from nearfar.files import check_writable

if TYPE_CHECKING:
    from nearfar.contract import Encoder


class Changed(NamedTuple):
    """What a change did to a file of embeddings: samples that were added, replaced and deleted, and those it has."""

    path: Path
    added: int
    replaced: int
    deleted: int
    samples: int


def add(
    encoder: "Encoder | str | os.PathLike[str]",
    file: str | os.PathLike[str],
    data: Any,
    *,
    device: str | None = None,
) -> Changed:
    """Embed `data` and put it into a file of embeddings; a sample with a key that is there replaces that one.

    `encoder` is one, a run folder or a published encoder, the same that made the file. The file is replaced at the end,
    in one step. Raises UserError.
    """
    from nearfar.api.embed import embed
    from nearfar.api.searcher import check_maker

    before = _opened(file)
    found = embed(encoder, data, device=device)
    if found.vectors.shape[1] != before.vectors.shape[1]:
        raise DataError(
            f"{os.fspath(file)!r} has vectors of {before.vectors.shape[1]} dimensions, this encoder makes "
            f"{found.vectors.shape[1]}: it was made by another one."
        )
    check_maker(before.maker, found.maker)
    found = _under(found, before.origin)
    fresh = set(found.keys)
    stay = np.array([key not in fresh for key in before.keys], dtype=bool)
    kept = before.take(np.flatnonzero(stay))
    everything = replace(joined([kept, found]), origin=before.origin, maker=before.maker)
    everything.save(file)
    replaced = len(before) - len(kept)
    return Changed(Path(file), len(found) - replaced, replaced, 0, len(everything))


def delete(file: str | os.PathLike[str], *, keys: Sequence[str] = (), where: str | None = None) -> Changed:
    """Take samples out of a file of embeddings: those with these keys, and those that meet a condition.

    The file is replaced in one step. Raises DataError for a key that is not there, ConfigError where nothing would be
    left or nothing is named.
    """
    if not keys and where is None:
        raise ConfigError("Say what to delete: keys, or a condition.")
    before = _opened(file)
    gone = np.zeros(len(before), dtype=bool)
    if where is not None:
        gone |= _meet(before, where)
    if keys:
        there = set(before.keys)
        for key in keys:
            if key not in there:
                close = difflib.get_close_matches(key, before.keys[:100_000], n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise DataError(f"{os.fspath(file)!r} has no sample {key!r}: nothing was deleted.{hint}")
        named = set(keys)
        gone |= np.array([key in named for key in before.keys], dtype=bool)
    if gone.all():
        raise ConfigError(f"This would delete all {len(before)} samples: remove the file {os.fspath(file)!r} instead.")
    if gone.any():
        before.take(np.flatnonzero(~gone)).save(file)
    return Changed(Path(file), 0, 0, int(gone.sum()), int((~gone).sum()))


def _opened(file: str | os.PathLike[str]) -> Embeddings:
    """A file that can be changed; raises DataError."""
    if not os.path.isfile(file):
        shards = "" if not os.path.exists(os.path.dirname(os.path.abspath(file))) else " (a shard is changed by itself)"
        raise DataError(f"There is no file of embeddings at {os.fspath(file)!r}{shards}; `nearfar embed` makes one.")
    check_writable(os.path.dirname(os.path.abspath(file)))
    return Embeddings.load(file)


def _meet(embeddings: Embeddings, where: str) -> NDArray[np.bool_]:
    from nearfar.data.filters import matching
    from nearfar.inspection.search.twin import rows_of

    return matching(rows_of(embeddings), where)


def _under(added: Embeddings, origin: str | None) -> Embeddings:
    """The same samples by keys that are paths from another `origin`, or whole paths where they lie elsewhere."""
    from nearfar.api.searcher import path_of

    if origin is None or added.origin in (None, origin):
        return added
    base = (origin if os.path.isdir(origin) else os.path.dirname(origin)) + os.sep
    paths = [path_of(key, added.origin) for key in added.keys]
    keys = [
        key if path is None else path.removeprefix(base).replace(os.sep, "/")
        for key, path in zip(added.keys, paths, strict=True)
    ]
    return replace(added, keys=keys, origin=origin)
