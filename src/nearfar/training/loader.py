"""Fetches the next batch while the current one trains."""

from typing import Any

from nearfar.contract import Rows, Source
from nearfar.prefetch import Prefetcher
from nearfar.training.order import Steps
from nearfar.training.positives import Positives


class Loader:
    """`get(step)` gives a step's raw batch, the rows in it and their draws; the step after it is fetched meanwhile.

    With `positives` the raw batch is a `Paired` one.
    """

    def __init__(self, source: Source, order: Steps, positives: Positives | None = None) -> None:
        self._source = source
        self._positives = positives
        self._order = order
        self._prefetcher = Prefetcher(self._fetch)

    def get(self, step: int) -> tuple[Any, Rows, Rows]:
        """The raw batch of a step, its rows `[b]` and their draws `[b]`; unreadable samples are left out."""
        return self._prefetcher.get(step, [step + 1])

    def _fetch(self, step: int) -> tuple[Any, Rows, Rows]:
        rows, draws = self._order.rows(step), self._order.draws(step)
        if not len(rows):  # of more ranks than samples
            return None, rows, draws
        raw, kept = self._source.fetch(rows)
        if len(kept) < len(rows):
            left = set(kept.tolist())
            draws = draws[[row in left for row in rows.tolist()]]
        if self._positives is not None and len(kept):
            raw = self._positives.beside(raw, kept, draws)
        return raw, kept, draws

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *_: object) -> None:
        self._prefetcher.close()
