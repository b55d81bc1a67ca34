"""Embedding a source: batch after batch through the encoder, the next one fetched meanwhile."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nearfar.contract import Encoder, Rows, Source
from nearfar.memory import keeping_freed
from nearfar.prefetch import Prefetcher
from nearfar.progress import track
from nearfar.whitening import Whitening

_WHITEN_FROM = 20_000


@torch.no_grad()
def embed_batches(
    encoder: Encoder,
    source: Source,
    *,
    rows: Rows | None = None,
    batch_size: int | None = None,
    dtype: torch.dtype | None = None,
    show: bool | None = None,
) -> Iterator[tuple[Tensor, Rows]]:
    """Vectors `[b, dim]` float32 of the readable ones among `rows` (None: all), and their rows, for each batch.

    Batches are of the encoder's `embed_batch` where `batch_size` is None. Runs in evaluation mode on the encoder's
    device, in full precision or under autocast to `dtype`; leaves the encoder's mode as it was.
    """
    wanted = np.arange(len(source), dtype=np.int64) if rows is None else rows
    device = next(encoder.parameters()).device
    was_training = encoder.training
    encoder.eval()
    size = batch_size or encoder.embed_batch
    starts = range(0, len(wanted), size)

    def fetch(start: int) -> tuple[Any, Rows]:
        return source.fetch(wanted[start : start + size])

    with keeping_freed(), Prefetcher(fetch) as prefetcher:
        try:
            for raw, kept in track(prefetcher.walk(starts), "embed", show=show, count=len(starts)):
                yield _vectors(encoder, raw, device, dtype) if len(kept) else torch.empty(0, encoder.dim), kept
        finally:
            encoder.train(was_training)


def embed_source(
    encoder: Encoder,
    source: Source,
    *,
    batch_size: int | None = None,
    dtype: torch.dtype | None = None,
    show: bool | None = None,
) -> tuple[Tensor, Rows]:
    """Vectors `[N, dim]` float32 of all readable samples of a source, and the rows that they belong to.

    Runs as `embed_batches` does.
    """
    vectors, rows = [torch.empty(0, encoder.dim)], [np.empty(0, dtype=np.int64)]
    for some, kept in embed_batches(encoder, source, batch_size=batch_size, dtype=dtype, show=show):
        vectors.append(some)
        rows.append(kept)
    return torch.cat(vectors), np.concatenate(rows)


def whiten(encoder: Encoder, source: Source, *, show: bool | None = None) -> tuple[Tensor, Rows]:
    """Put a whitening behind the encoder's features; returns what `embed_source` then would.

    It is fitted to the features of up to 20,000 samples, evenly taken; all samples are embedded once.
    """
    encoder.output = nn.Identity()
    features, rows = embed_source(encoder, source, show=show)
    step = max(1, len(source) // _WHITEN_FROM)
    whitening = Whitening(encoder.dim).fit(features[torch.from_numpy(rows % step == 0)])
    with torch.no_grad():
        vectors: Tensor = whitening(features)
    encoder.output = whitening.to(next(encoder.parameters()).device)
    encoder.config["whitened"] = True
    return vectors, rows


def label_names(source: Source, rows: Rows) -> list[str | None] | None:
    """The labels of some rows by name; None where no sample of the source has one."""
    labels = source.labels
    if labels is None:
        return None
    names: Sequence[str] = source.label_names
    return [names[label] if label >= 0 else None for label in labels[rows].tolist()]


def _vectors(encoder: Encoder, raw: Any, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    inputs = encoder.prepare(raw)
    if dtype is None:
        return encoder.vectors(inputs).float().cpu()
    with torch.autocast(device.type, dtype):
        features = encoder.features(inputs)
    # The whitening has products of large and small numbers: it stays in full precision.
    found: Tensor = encoder.output(features.float())
    return found.float().cpu()
