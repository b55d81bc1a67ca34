"""Embed a whole data set."""

import os
from typing import TYPE_CHECKING

from nearfar.evaluation.embeddings import Embeddings, check_path

if TYPE_CHECKING:
    from nearfar.contract import Encoder


def embed(
    encoder: "Encoder | str | os.PathLike[str]",
    data: str | os.PathLike[str],
    *,
    batch_size: int | None = None,
    device: str | None = None,
    out: str | os.PathLike[str] | None = None,
    cache: str = "auto",
) -> Embeddings:
    """The vectors of all samples of `data`, with keys and labels; written to `out` (.parquet or .npy) when given.

    `encoder` is an encoder or a run folder. Unreadable samples are left out, and listed in `skipped.csv` beside `out`.
    What a run has kept decoded in the `cache` (as for `train`) is used, and nothing is added to it. Raises UserError.
    """
    from pathlib import Path

    from nearfar.errors import must

    must(batch_size is None or batch_size >= 1, "batch_size must be at least 1", got=batch_size)
    if out is not None:
        check_path(Path(out))

    from nearfar.evaluation.embeddings import embed_source, label_names
    from nearfar.face.load import load
    from nearfar.face.sources import list_skipped, open_for
    from nearfar.training.automatic import device_of

    place, _ = device_of(device)
    if isinstance(encoder, str | os.PathLike):
        encoder = load(encoder)
    source = open_for(encoder.to(place), os.fspath(data), cache=cache, grow=False)
    vectors, rows = embed_source(encoder, source, batch_size=batch_size or 256)
    found = Embeddings(vectors.numpy(), [source.keys[row] for row in rows.tolist()], label_names(source, rows))
    if out is not None:
        list_skipped(found.save(out).parent, source)
    return found
