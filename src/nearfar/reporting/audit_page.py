"""The page of an audit: what may be wrong, with the samples side by side."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nearfar import files
from nearfar.contract import Card, Skipped
from nearfar.inspection.audit.ranking import Note, Ranking
from nearfar.reporting.payload import IMAGE_BUDGET, MEDIA_BUDGET, Shelf
from nearfar.reporting.report import page_of

_STYLES = ("base.css", "samples.css", "overview.css", "audit.css", "print.css")
_SCRIPTS = ("core.js", "audit.js", "contents.js")
_SHOWN = 60
"""Samples or pairs of a ranking that are shown."""
_NAMES = 200


def write(
    path: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    rankings: Sequence[Ranking],
    sections: Mapping[str, Sequence[Note]],
    defects: Sequence[Skipped],
    skipped: Sequence[Skipped],
    notes: Sequence[str],
    card: Callable[[int], Card],
    names: Sequence[str],
) -> None:
    """Write the page atomically; `card` is asked for the samples that are shown. Raises as `files.write`."""
    sounds = any(len(one) and card(int(one.rows[0])).media is not None for one in rankings)
    shelf = Shelf(images=IMAGE_BUDGET - MEDIA_BUDGET * sounds)

    def put(row: int) -> int:
        return shelf.put(card(row))

    lists = []
    for ranking in rankings:
        count = min(len(ranking), _SHOWN)
        lists.append(
            {
                "name": ranking.name,
                "title": ranking.title,
                "threshold": ranking.threshold,
                "flagged": ranking.flagged,
                "ranked": len(ranking),
                "entries": [
                    {
                        "score": round(float(ranking.scores[i]), 3),
                        "flagged": i < ranking.flagged,
                        "items": [put(int(rows[i])) for rows in (ranking.rows, ranking.others) if rows is not None],
                        "suggested": None if ranking.suggested is None else names[int(ranking.suggested[i])],
                    }
                    for i in range(count)
                ],
            }
        )
    groups = [
        {
            "title": heading,
            "entries": [
                {"about": one.about, "found": one.found, "items": [put(row) for row in one.rows]} for one in found
            ],
        }
        for heading, found in sections.items()
    ]
    data: dict[str, Any] = {
        "title": title,
        "facts": [[name, value] for name, value in facts.items()],
        "lists": lists,
        "groups": groups,
        "defects": [[one.key, one.reason] for one in defects[:_NAMES]],
        "defects_total": len(defects),
        "skipped": [[one.key, one.reason] for one in skipped[:_NAMES]],
        "skipped_total": len(skipped),
        "notes": list(notes),
        "images": shelf.images,
        "media": shelf.media,
        "samples": shelf.samples,
    }
    summary = "; ".join(f"{one.title}: {one.flagged} flagged" for one in rankings)
    files.write(path, page_of(f"Audit of {title}", summary, data, styles=_STYLES, scripts=_SCRIPTS))
