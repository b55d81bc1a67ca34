"""The page of a search: what was found for each query; or, served on this machine, a page to search by."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nearfar import files
from nearfar.reporting.payload import Shelf
from nearfar.reporting.report import page_of
from nearfar.reporting.sheet import Found

_STYLES = ("base.css", "samples.css", "search.css", "print.css")
_SCRIPTS = ("core.js", "search.js")


Abouts = Sequence[Sequence[Mapping[str, Any]]]
"""Further columns of each sample that was found."""


def write(path: Path, found: Found, abouts: Abouts) -> None:
    """Write what was found as one HTML document, atomically; raises as `files.write`."""
    shown = {"title": path.stem, "live": None, **results(found, abouts)}
    summary = f"{len(found)} queries"
    files.write(path, page_of(f"Search: {path.stem}", summary, shown, styles=_STYLES, scripts=_SCRIPTS))


def served(title: str, live: Mapping[str, Any]) -> str:
    """The page to search by: `live` says how many samples there are, which columns, and what it takes."""
    content = {"title": title, "live": live, **results((), ())}
    return page_of(f"Search: {title}", "", content, styles=_STYLES, scripts=_SCRIPTS, template="served.html")


def results(found: Found, abouts: Abouts) -> dict[str, Any]:
    """Queries and hits as the page's script takes them."""
    shelf = Shelf()
    shown = []
    for i, (query, hits) in enumerate(found):
        entries = [
            {
                "item": shelf.put(card),
                "similarity": round(similarity, 4),
                "about": {name: str(value) for name, value in abouts[i][j].items()},
            }
            for j, (card, similarity) in enumerate(hits)
        ]
        shown.append({"query": shelf.put(query), "hits": entries})
    return {"results": shown, "samples": shelf.samples, "images": shelf.images, "media": shelf.media}
