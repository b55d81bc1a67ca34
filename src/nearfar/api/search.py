"""Search an embedding for what is nearest to a sample or a vector."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.data.embeddings import Embeddings
from nearfar.errors import ConfigError

if TYPE_CHECKING:
    from nearfar.api.queries import Query
    from nearfar.api.searcher import Hits, Searcher
    from nearfar.contract import Encoder
    from nearfar.inspection.search.index import Kind

FORMS = (".png", ".html", ".csv")
"""What the result of a search is written as."""
_MOST_SHOWN = 2000
"""Samples that a sheet or a page shows."""


def search(
    embeddings: Embeddings | str | os.PathLike[str],
    query: Any,
    k: int = 10,
    *,
    encoder: "Encoder | None" = None,
    where: str | None = None,
    index: "Kind" = "auto",
) -> "Hits":
    """The `k` samples nearest to `query` by cosine, nearest first.

    `embeddings` are in memory, or a file of them, which is an index on disk: it is searched without being read where it
    is large, exactly up to a million vectors, and beyond, or where `index` is hnsw or ivfpq, by FAISS. `query` is a
    vector [D] of numbers, the key of a sample of the embedding, or, with the `encoder`, a sample as that one takes it:
    a path, `FILE#3` for row 3 of a file, a row as a mapping or as JSON text ... Only samples that meet the condition
    `where`, such as `split == "test"`, are found. Raises UserError.
    """
    from nearfar.api.searcher import Searcher
    from nearfar.inspection.search.index import index_of, open_index

    opened = index_of(embeddings) if isinstance(embeddings, Embeddings) else open_index(embeddings, index)
    searcher = Searcher(opened, encoder)
    asked = searcher.queries(query)
    if len(asked) > 1:
        raise ConfigError(f"The file of the query holds {len(asked)} vectors: give one, or take nearfar.search_run.")
    return searcher.hits(asked, k, where)[0]


def search_run(
    run: str | os.PathLike[str],
    queries: Sequence[Any],
    k: int = 10,
    *,
    within: str | os.PathLike[str] | None = None,
    where: str | None = None,
    index: "Kind" = "auto",
    device: str | None = None,
    out: str | os.PathLike[str] | None = None,
) -> "list[Hits]":
    """The `k` samples nearest to each query by the encoder of a run or a published one, as `search` finds them.

    They are looked for `within` a file of embeddings, or within data, which is embedded first; in the run's own
    embeddings when nothing is given. A file of vectors [Q, D] is Q queries. The result is written to `out`: a sheet
    (.png), a page (.html) or a table (.csv). Raises UserError.
    """
    from nearfar.api.searcher import searcher_of
    from nearfar.files import check_writable

    if out is not None:
        check_form(out)
        check_writable(out)
    searcher = searcher_of(run, within, device=device, index=index)
    asked = [one for query in queries for one in searcher.queries(query)]
    found = searcher.with_texts(searcher.hits(asked, k, where))
    if out is not None:
        _write(Path(out), searcher, asked, found)
    return found


def check_form(out: str | os.PathLike[str]) -> None:
    """Raise ConfigError where a result cannot be written by this name."""
    if Path(out).suffix.lower() not in FORMS:
        raise ConfigError(f"The result of a search is written as {', '.join(FORMS)}, got {os.fspath(out)!r}.")


def _write(out: Path, searcher: "Searcher", asked: "list[Query]", found: "list[Hits]") -> None:
    if out.suffix.lower() == ".csv":
        from nearfar.api.audited import write_rows

        names = list(dict.fromkeys(name for hits in found for hit in hits for name in hit.about))
        lines = [
            [query.name, rank, f"{hit.similarity:.6f}", hit.key, hit.label or "", hit.path or "", hit.text or ""]
            + [str(hit.about.get(name, "")) for name in names]
            for query, hits in zip(asked, found, strict=True)
            for rank, hit in enumerate(hits, 1)
        ]
        write_rows(out, ["query", "rank", "similarity", "key", "label", "path", "text", *names], lines)
        return
    if sum(map(len, found)) > _MOST_SHOWN:
        raise ConfigError(f"More than {_MOST_SHOWN} samples are no sheet: write .csv, or ask for fewer.")
    from nearfar.reporting import search_page, sheet

    cards = iter(searcher.cards(hit for hits in found for hit in hits))
    rows = [
        (searcher.card(query), [(next(cards), hit.similarity) for hit in hits])
        for query, hits in zip(asked, found, strict=True)
    ]
    if out.suffix.lower() == ".png":
        sheet.write(out, rows)
    else:
        search_page.write(out, rows, [[hit.about for hit in hits] for hits in found])
