"""The annotated pictures that judge, some at a time."""

from collections.abc import Iterator
from typing import Any

from nearfar.contract import Encoder, Rows, Source

_AT_ONCE = 8  # pictures


def fetched(encoder: Encoder, judges: Source, rows: Rows) -> Iterator[tuple[Any, list[int]]]:
    """Raw batches of the readable ones among `rows`, and which these are; the encoder is in evaluation mode."""
    was_training = encoder.training
    encoder.eval()
    for start in range(0, len(rows), _AT_ONCE):
        raw, kept = judges.fetch(rows[start : start + _AT_ONCE])
        if len(kept):
            yield raw, kept.tolist()
    encoder.train(was_training)
