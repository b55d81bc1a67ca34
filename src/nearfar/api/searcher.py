"""What searches have in common: an encoder, an index, and the data that shows what was found."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfar.api import queries
from nearfar.api.queries import Query
from nearfar.data.embeddings import holds_embeddings
from nearfar.data.location import files_of, is_pattern
from nearfar.errors import ConfigError, DataError, UserError, must
from nearfar.inspection.search.index import Index, Kind, index_of, open_index

if TYPE_CHECKING:
    from nearfar.contract import Card, Encoder, Source

EMBEDDINGS = "embeddings.parquet"
_NAMED = ("key", "label", "text")


@dataclass(frozen=True)
class Hit:
    """A sample that was found: its key, its cosine similarity to the query in [-1, 1], and its label by name.

    `path` is the file that holds it, with the place within where there are more in it; None where that is not known.
    `text` is what it says, where that is known, and `about` its further columns.
    """

    key: str
    similarity: float
    label: str | None = None
    path: str | None = None
    text: str | None = None
    about: dict[str, Any] = field(default_factory=dict)


class Hits(list[Hit]):
    """What was found for the query of this name, nearest first."""

    def __init__(self, query: str, hits: Iterable[Hit] = ()) -> None:
        super().__init__(hits)
        self.query = query


class Searcher:
    """Searches one index by the samples that one encoder takes; raises DataError where another one made the index."""

    def __init__(self, index: Index, encoder: "Encoder | None" = None) -> None:
        if encoder is not None and index.maker is not None:
            check_maker(index.maker, encoder.fingerprint())
        self.index = index
        self.encoder = encoder
        self._source: Source | None = None
        self._rows: dict[str, int] = {}
        self._opened = False

    def queries(self, query: Any, *, files: bool = True) -> list[Query]:
        """The query as vectors, see `queries.read`; raises UserError."""
        return queries.read(query, self.index, self.encoder, files=files)

    def hits(self, asked: Sequence[Query], k: int, where: str | None = None) -> list[Hits]:
        """The `k` samples nearest to each query, nearest first, of those that meet the condition; raises UserError."""
        import torch

        must(k >= 1, "k must be at least 1", got=k)
        among = None if where is None else self.index.where(where)
        if not asked or (among is not None and not len(among)):
            return [Hits(query.name) for query in asked]
        vectors = torch.from_numpy(np.stack([query.vector for query in asked]))
        similar, rows = self.index.nearest(vectors, k, among)
        return [
            Hits(query.name, map(self._hit, self.index.described(some.numpy()), values.tolist()))
            for query, values, some in zip(asked, similar, rows, strict=True)
        ]

    def cards(self, hits: Iterable[Hit]) -> "list[Card]":
        """What is shown of samples: all that can be where the data is still there."""
        found = list(hits)
        self._open()
        rows = [self._rows[hit.key] for hit in found if hit.key in self._rows]
        shown: dict[str, Card] = {}
        if self._source is not None and rows:
            each = sorted(set(rows))
            shown = {card.key: card for card in self._source.cards(np.array(each, dtype=np.int64))}
        return [shown.get(hit.key) or self._apart(hit) for hit in found]

    def card(self, query: Query) -> "Card":
        """What is shown of a query."""
        from nearfar.contract import Card

        if query.key is not None:
            return self.cards([Hit(query.key, 1.0, path=path_of(query.key, self.index.origin))])[0]
        shown = None if query.file is None else self._of_file(query.file, query.place)
        return shown or Card(key=query.name, text=query.text)

    def with_texts(self, found: list[Hits]) -> list[Hits]:
        """The same hits, those that are no files of their own with what they say."""
        lacking = [hit for hits in found for hit in hits if hit.text is None and not is_file(hit)]
        texts = {card.key: card.text for card in self.cards(lacking)} if lacking else {}
        return [Hits(hits.query, (replace(hit, text=hit.text or texts.get(hit.key)) for hit in hits)) for hits in found]

    def _apart(self, hit: Hit) -> "Card":
        """What is shown of a sample that is not in the data that was embedded: added later, or the data is gone."""
        from nearfar.contract import Card

        shown = self._of_file(hit.path) if hit.path is not None and is_file(hit) else None
        plain = Card(key=hit.key, label=hit.label, text=hit.text)
        return plain if shown is None else replace(shown, key=hit.key, label=hit.label)

    def _of_file(self, file: str, place: int = 0) -> "Card | None":
        """What is shown of a sample in a file; None where that is no data of its own."""
        from nearfar.api.sources import open_for

        if self.encoder is None:
            return None
        try:
            return open_for(self.encoder, file, grow=False).cards(np.array([place]))[0]
        except UserError:
            return None

    def _hit(self, row: dict[str, Any], similarity: float) -> Hit:
        about = {name: value for name, value in row.items() if name not in _NAMED and value is not None}
        text = row.get("text")
        return Hit(
            row["key"],
            round(similarity, 6),
            row.get("label"),
            path_of(row["key"], self.index.origin),
            text if isinstance(text, str) else None,
            about,
        )

    def _open(self) -> None:
        """Open the data that was embedded, once; it may be gone or have changed."""
        from nearfar.api.sources import open_for

        if self._opened or self.encoder is None or self.index.origin is None:
            return
        self._opened = True
        try:
            self._source = open_for(self.encoder, self.index.origin, split="all", grow=False).shown
            self._rows = {key: row for row, key in enumerate(self._source.keys)}
        except UserError:
            return


def searcher_of(
    run: str | os.PathLike[str],
    within: str | os.PathLike[str] | None = None,
    *,
    device: str | None = None,
    index: Kind = "auto",
) -> Searcher:
    """A searcher by the encoder of a run, or a published one, `within` a file of embeddings or data; raises UserError.

    Data is embedded first. When nothing is given, it searches the run's own embeddings.
    """
    from nearfar.api.embed import embed
    from nearfar.api.load import load_on

    own = Path(run) / EMBEDDINGS
    name = os.fspath(run)
    if within is None and not own.is_file() and (own.parent.is_dir() or ":" in name):
        what = "keeps no embeddings" if own.parent.is_dir() else "comes without data"
        raise ConfigError(f"{name!r} {what}: say where to look by --in FILE.parquet or --in DATA.")
    encoder, _ = load_on(run, device)
    if within is None or holds_embeddings(within, encoder.dim):
        return Searcher(open_index(own if within is None else within, index), encoder)
    if index not in ("auto", "exact"):
        raise ConfigError(
            f"--index {index} is kept beside a file of embeddings: write one by nearfar embed, and give it by --in."
        )
    return Searcher(index_of(embed(encoder, within)), encoder)


def check_maker(maker: str | None, other: str | None) -> None:
    """Raise DataError where vectors are known to be made by another encoder than others: they can't be compared."""
    if None not in (maker, other) and maker != other:
        raise DataError(
            "These vectors were made by another encoder, or by this one before it was trained further: make them anew "
            "by `nearfar embed`, or name the run that made them."
        )


def is_file(hit: Hit) -> bool:
    """Whether the sample is a file of its own, which its path shows."""
    return hit.path is not None and os.path.isfile(hit.path)


def path_of(key: str, origin: str | None) -> str | None:
    """The file of a sample, where it is there."""
    if origin is None:
        return None
    paths = {os.path.join(folder, key) for folder in _folders_of(origin)}
    there = [path for path in paths if os.path.exists(path) or os.path.exists(path.rpartition("#")[0])]
    return there[0] if len(there) == 1 else None


def _folders_of(origin: str) -> list[str]:
    """The folders that keys of the data at `origin` may be relative to; none of what is built in."""
    if not os.path.isabs(origin):
        return []
    if os.path.isdir(origin):
        return [origin, os.path.join(origin, "data")]
    if os.path.exists(origin) or not is_pattern(origin):
        return [os.path.dirname(origin)]
    try:
        return [os.path.dirname(file) for file in files_of(origin)]
    except DataError:
        return []
