"""Embed a whole data set."""

import logging
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from nearfar.data.embeddings import Embeddings, check_path
from nearfar.files import check_writable
from nearfar.memory import advising

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    import torch
    from numpy.typing import NDArray

    from nearfar.contract import Encoder, Rows, Source
    from nearfar.data.embedding_parts import Parts

_log = logging.getLogger("nearfar")
_PART = 4_096
_MANY = 4_000  # below this many samples, measuring bf16 takes longer than it gains


class EmbeddedFile(NamedTuple):
    """A file of embeddings: where it is, its numbers of vectors and of dimensions, and the samples left out."""

    path: "Path"
    samples: int
    dim: int
    skipped: int


def embed(
    encoder: "Encoder | str | os.PathLike[str]",
    data: Any,
    *,
    batch_size: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    out: str | os.PathLike[str] | None = None,
    cache: str = "auto",
    compile: bool = False,
) -> Embeddings:
    """The vectors of all samples of `data`, with keys and labels; written to `out` (.parquet or .npy) when given.

    `encoder` is an encoder or a run folder. `precision` is fp32 (also when None) or bf16. Unreadable samples are left
    out, and listed in `skipped.csv` beside `out`. What a run has kept decoded in the `cache` (as for `train`) is used,
    and nothing is added to it. With `compile` the network is compiled. Raises UserError. For data whose vectors memory
    cannot hold, see `embed_file`.
    """
    if out is not None:
        written = embed_file(
            encoder, data, out, batch_size=batch_size, device=device, precision=precision or "fp32", cache=cache,
            compile=compile,
        )  # fmt: skip
        return Embeddings.load(written.path)
    _check(batch_size, precision)
    from nearfar.api.load import load_on
    from nearfar.api.sources import open_for, origin_of, tell_unreadable
    from nearfar.evaluation.embedding import embed_source

    opened, _ = load_on(encoder, device, compile=compile)
    source = open_for(opened, data, cache=cache, grow=False, about=True).shown
    size = batch_size or opened.embed_batch
    dtype = _dtype(opened, source, precision or "fp32", size)
    with advising(f"take a smaller --batch-size than {size}"):
        vectors, rows = embed_source(opened, source, batch_size=size, dtype=dtype)
    tell_unreadable(source)
    return _embeddings(source, vectors.numpy(), rows, origin_of(data), opened.fingerprint())


def embed_file(
    encoder: "Encoder | str | os.PathLike[str]",
    data: Any,
    out: str | os.PathLike[str],
    *,
    batch_size: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    cache: str = "auto",
    compile: bool = False,
) -> EmbeddedFile:
    """Write the vectors of all samples of `data` to `out` (.parquet or .npy) as they are made: data of any size.

    Work that was stopped or killed goes on where it was when it is asked for again. Under torchrun each process embeds
    its share of the samples into a shard of its own, `NAME-00000-of-00004.parquet`; `Embeddings.load(NAME.parquet)`
    reads them all. `precision` is fp32, bf16, or None for bf16 where it measures faster on much data; `cache` as for
    `embed`. Unreadable samples are left out, and listed in `skipped.csv` beside `out`. Raises UserError.
    """
    from pathlib import Path

    check_path(Path(out))
    _check(batch_size, precision)
    check_writable(out)

    import numpy as np

    from nearfar import torchrun
    from nearfar.api.load import load_on
    from nearfar.api.sources import list_unreadable, open_for, origin_of, tell_unreadable
    from nearfar.data.embedding_parts import Parts, shard_path

    rank, world, local, *_ = torchrun.place()
    opened, _ = load_on(encoder, f"cuda:{local}" if world > 1 and device == "cuda" else device, compile=compile)
    source = open_for(opened, data, cache=cache, grow=False, about=True).shown
    size = batch_size or opened.embed_batch
    dtype = _dtype(opened, source, precision, size)
    rows = np.arange(len(source) * rank // world, len(source) * (rank + 1) // world, dtype=np.int64)
    target = shard_path(Path(out), rank, world)
    parts = Parts(target, _plan(opened, source, rows, dtype, size))
    maker = str(parts.plan["weights"])
    with parts.opened(), advising(f"what is embedded is kept; take a smaller --batch-size than {size}"):
        _write(parts, opened, source, rows, size, dtype, origin_of(data), maker)
        source.skipped.extend(parts.skipped())
        samples, dim = parts.join()
    name = "skipped.csv" if world == 1 else f"skipped-{rank:05d}-of-{world:05d}.csv"
    tell_unreadable(source, listed=target.parent / name)
    return EmbeddedFile(target, samples, dim, len(list_unreadable(target.parent, source, name=name)))


def _write(
    parts: "Parts",
    encoder: "Encoder",
    source: "Source",
    rows: "Rows",
    size: int,
    dtype: "torch.dtype | None",
    origin: str | None,
    maker: str,
) -> None:
    """Embed the parts that are missing. A part is a whole number of batches, so it is the same whichever are there."""
    from itertools import islice

    import numpy as np

    from nearfar.evaluation.embedding import embed_batches

    length = max(1, _PART // size) * size
    chunks = [rows[start : start + length] for start in range(0, len(rows), length)] or [rows]
    missing = [number for number in range(len(chunks)) if not parts.has(number)]
    if not missing:
        return
    wanted = np.concatenate([chunks[number] for number in missing])
    batches = embed_batches(encoder, source, rows=wanted, batch_size=size, dtype=dtype)
    for number in missing:
        some = list(islice(batches, -(-len(chunks[number]) // size)))
        vectors = np.concatenate([np.empty((0, encoder.dim), dtype=np.float32), *(v.numpy() for v, _ in some)])
        kept = np.concatenate([rows[:0], *(own for _, own in some)])
        parts.put(number, _embeddings(source, vectors, kept, origin, maker), source.skipped)


def _embeddings(
    source: "Source", vectors: "NDArray[np.float32]", rows: "Rows", origin: str | None, maker: str
) -> Embeddings:
    from nearfar.evaluation.embedding import label_names

    keys = [source.keys[row] for row in rows.tolist()]
    return Embeddings(vectors, keys, label_names(source, rows), origin, about_of(source, rows), maker)


def about_of(source: "Source", rows: "Rows") -> "pa.Table | None":
    """The further columns of some samples, under names that no column of embeddings has."""
    import pyarrow as pa

    from nearfar.data.embeddings import COLUMNS

    columns: dict[str, Any] = {}
    for name, cells in source.about(rows).items():
        free = name
        while free in (*COLUMNS, *columns):
            free += "_"
        columns[free] = cells
    return pa.table(columns) if columns else None


def _check(batch_size: int | None, precision: str | None) -> None:
    from nearfar.errors import must

    must(batch_size is None or batch_size >= 1, "batch_size must be at least 1", got=batch_size)
    must(precision in (None, "fp32", "bf16"), "precision must be fp32 or bf16", got=precision)


def _dtype(encoder: "Encoder", source: "Source", precision: str | None, size: int) -> "torch.dtype | None":
    """The type for autocast; for None it is measured on the first batch, where there are many samples."""
    import numpy as np
    import torch

    from nearfar.training.precision import choose, dtype_of

    if precision is None and len(source) >= _MANY:
        raw, kept = source.fetch(np.arange(size, dtype=np.int64))
        if len(kept):
            with torch.no_grad():
                precision, _ = choose(encoder.features, encoder.prepare(raw))
            _log.info("embedding in %s, which is the faster one here", precision)
    return dtype_of(precision)


def _plan(encoder: "Encoder", source: "Source", rows: "Rows", dtype: "torch.dtype | None", size: int) -> dict[str, Any]:
    """What the parts of a file depend on."""
    from hashlib import blake2b

    keys = blake2b(digest_size=16)
    for row in rows.tolist():
        keys.update(source.keys[row].encode("utf-8", "surrogateescape") + b"\0")
    return {
        "weights": encoder.fingerprint(),
        "data": keys.hexdigest(),
        "samples": len(rows),
        "dtype": str(dtype),
        "batch": size,
        "about": list(source.about(rows[:0])),
    }
