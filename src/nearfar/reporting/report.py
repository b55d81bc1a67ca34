"""One page to look at: what a run is worth, how it went, and what the embedding looks like.

The page is a single file that asks nothing of the network: style, script, pictures and data are inside it. Whatever
comes from the user (keys, labels, texts, settings) travels as JSON and is only ever shown as text.
"""

import html
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar import files
from nearfar.contract import Card
from nearfar.errors import DataError
from nearfar.evaluation.result import Evaluation
from nearfar.reporting import payload
from nearfar.reporting.explained import Explained

_LOG = logging.getLogger("nearfar")

_STYLES = (
    "base.css",
    "verdict.css",
    "evaluation.css",
    "curves.css",
    "map.css",
    "samples.css",
    "explained.css",
    "print.css",
)
_SCRIPTS = (
    "core.js",
    "verdict.js",
    "evaluation.js",
    "curves.js",
    "scatter.js",
    "legend.js",
    "map.js",
    "samples.js",
    "explained.js",
    "settings.js",
    "start.js",
    "contents.js",
)


@dataclass(frozen=True, kw_only=True)
class MapData:
    """A map: points `xy` [n, 2] in [0, 1], their items, and each one's k nearest (indices into items, cosines).

    Raises DataError when the shapes do not fit together.
    """

    xy: NDArray[np.float32]
    items: Sequence[Card]
    neighbours: NDArray[np.int64]
    similarities: NDArray[np.float32]

    def __post_init__(self) -> None:
        n = len(self.items)
        if np.shape(self.xy) != (n, 2):
            raise DataError(f"A map of {n} items needs xy of shape ({n}, 2), got {np.shape(self.xy)}.")
        if not np.isfinite(self.xy).all():
            raise DataError("A point of the map is not finite; make xy with nearfar.inspection.projection.project.")
        near = np.asarray(self.neighbours)
        if near.ndim != 2 or len(near) != n or near.shape != np.shape(self.similarities):
            shapes = f"{near.shape} and {np.shape(self.similarities)}"
            raise DataError(f"Neighbours and similarities of a map of {n} items must both be [{n}, k], got {shapes}.")
        if near.size and (near.min() < 0 or near.max() >= n):
            raise DataError(f"A neighbour on the map points outside its {n} items.")


@dataclass(frozen=True, kw_only=True)
class ViewsRow:
    """A sample, and the views of it that the model was shown."""

    item: Card
    views: Sequence[Card]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two samples and their cosine similarity in [-1, 1]."""

    a: Card
    b: Card
    similarity: float


@dataclass(frozen=True, kw_only=True)
class Strange:
    """A sample and its mean cosine similarity to its nearest neighbours."""

    item: Card
    similarity: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that the page shows; every part but the title may be missing, and is then left out."""

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    """Key facts in the order to show: method, encoder, data, samples, wall time, device, version."""
    alarms: Sequence[Mapping[str, Any]] = ()
    """{"step", "name", "sentence"} of each alarm that the run raised."""
    evaluation: Evaluation | None = None
    metrics: Sequence[Mapping[str, Any]] = ()
    """The records of `metrics.jsonl`; any field may be missing in any record."""
    map: MapData | None = None
    views: Sequence[ViewsRow] = ()
    found: Sequence[ViewsRow] = ()
    """Queries, and as their views what was found for each, the nearest first."""
    predicted: Sequence[ViewsRow] = ()
    """Samples that judge, and as their views what they are annotated with and what the head says, drawn over them."""
    closest: Sequence[Pair] = ()
    strangest: Sequence[Strange] = ()
    explained: Sequence[Explained] = ()
    shown: Mapping[str, Any] | None = None
    """What `payload.shown` made of the seven above of this run before; in their place."""
    config: str = ""
    """The text of `config.toml`."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    skipped: Sequence[Mapping[str, str]] = ()
    """{"key", "reason"} of inputs left out; the page lists the first 200."""
    skipped_total: int = 0
    """How many inputs were left out in all (at least len(skipped))."""


def render(report: Report) -> str:
    """Return the page as one HTML document; the same report gives the same text."""
    data = payload.build(report)
    if data["images_left_out"]:
        _LOG.info("%d thumbnails were left out of the report to keep it small.", data["images_left_out"])
    verdict = "" if report.evaluation is None else str(report.evaluation.verdict())
    return page_of(report.title, verdict, data, styles=_STYLES, scripts=_SCRIPTS)


def page_of(
    title: str,
    summary: str,
    data: Mapping[str, Any],
    *,
    styles: Sequence[str],
    scripts: Sequence[str],
    template: str = "page.html",
) -> str:
    """A page as one HTML document: `data` for its scripts, and a `summary` to read where none run."""
    parts = {
        "title": _as_text(title),
        "verdict": _as_text(summary),
        "style": "\n".join(_page_file(name) for name in styles),
        "script": "\n".join(_page_file(name) for name in scripts),
        "data": payload.to_json(data),
    }
    # One pass: what a part contains is never searched for further marks.
    return re.sub(
        r"<!--nearfar:(\w+)-->|/\*nearfar:(\w+)\*/", lambda mark: parts[mark[1] or mark[2]], _page_file(template)
    )


def write(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the page to `path`, atomically; raises as `files.write`."""
    files.write(Path(path), render(report))


def _page_file(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def _as_text(text: str) -> str:
    # A file name that is not UTF-8 arrives with lone surrogates, which no UTF-8 file can hold.
    return html.escape(text.encode("utf-8", "replace").decode())
