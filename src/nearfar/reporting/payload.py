"""A report as strict JSON: the pictures and samples once each, the curves thinned."""

import base64
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nearfar.contract import Card
from nearfar.errors import DataError
from nearfar.evaluation.result import Evaluation
from nearfar.files import plain
from nearfar.reporting import explained, figures
from nearfar.reporting.plain import finite, flat

if TYPE_CHECKING:
    from nearfar.reporting.report import Report

MAX_POINTS = 500
"""Points that a curve keeps."""
MAX_SKIPPED = 200
"""Skipped inputs that are listed."""
MAX_TEXT = 500
"""Characters of a sample's text that are shown."""
IMAGE_BUDGET = 4_100_000
"""Characters that all pictures together may take, sounds included, so that the page stays under 6 MB."""
MEDIA_BUDGET = 2_000_000
"""Characters that all sounds together may take."""
TEXT_BUDGET = 600_000
"""Characters that all texts together may take, as JSON writes them; beyond that, each is cut short."""
SHORT_TEXT = 80

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_NOT_CURVES = {"step", "seconds", "epoch", "samples", "time", "progress"}


def build(report: "Report") -> dict[str, Any]:
    """Return all that the page's script reads, as plain values that JSON can hold."""
    found = report.evaluation
    return {
        "title": report.title,
        "verdict": None if found is None else figures.verdict_of(found.verdict()),
        "length": None if found is None or found.steps is None else [found.steps, finite(found.epochs, digits=1)],
        "facts": [[str(name), str(value)] for name, value in report.facts.items()],
        "alarms": [plain(alarm) for alarm in report.alarms],
        "evaluation": None if found is None else _evaluation(found),
        "curves": curves(report.metrics),
        **(shown(report) if report.shown is None else report.shown),
        "config": report.config,
        "environment": list(flat(report.environment)),
        "skipped": [[str(s.get("key", "")), str(s.get("reason", ""))] for s in report.skipped[:MAX_SKIPPED]],
        "skipped_total": max(int(report.skipped_total), len(report.skipped)),
    }


def shown(report: "Report") -> dict[str, Any]:
    """The samples of a report: each once, with its picture and sound as far as there is room, and where it stands."""
    sounds = report.map is not None and any(item.media is not None for item in report.map.items)
    shelf = Shelf(images=IMAGE_BUDGET - MEDIA_BUDGET * sounds)
    shelf.text_room = TEXT_BUDGET
    # The few samples of the galleries come first: they keep their pictures when the map's are too many.
    views = [{"item": shelf.put(row.item), "views": [shelf.put(view) for view in row.views]} for row in report.views]
    found_rows = [{"item": shelf.put(row.item), "views": [shelf.put(hit) for hit in row.views]} for row in report.found]
    predicted = [
        {"item": shelf.put(row.item), "views": [shelf.put(one) for one in row.views]} for row in report.predicted
    ]
    closest = [[shelf.put(pair.a), shelf.put(pair.b), finite(pair.similarity)] for pair in report.closest]
    strangest = [[shelf.put(strange.item), finite(strange.similarity)] for strange in report.strangest]
    why = explained.entries(report.explained, shelf.put)
    points = None
    if report.map is not None and len(report.map.items):
        points = {
            "items": shelf.put_all(report.map.items),
            "xy": [[round(float(value), 4) for value in row] for row in report.map.xy],
            "neighbours": [[int(value) for value in row] for row in report.map.neighbours],
            "similarities": [[finite(value) for value in row] for row in report.map.similarities],
        }
    return {
        "map": points,
        "views": views,
        "found": found_rows,
        "predicted": predicted,
        "closest": closest,
        "strangest": strangest,
        "explained": why,
        "images": shelf.images,
        "images_left_out": shelf.left_out,
        "media": shelf.media,
        "media_left_out": shelf.media_left_out,
        "samples": shelf.samples,
    }


def _evaluation(found: Evaluation) -> dict[str, Any]:
    return {
        "protocol": found.protocol,
        "systems": found.systems,
        "judged": len(found.systems) - 1,
        "sections": figures.sections(found),
        "listings": [plain(vars(listing)) for listing in found.listings],
        "meanings": list(found.meanings.items()),
        "counts": list(figures.counts(found)),
        "notes": found.notes,
    }


def to_json(data: Mapping[str, Any]) -> str:
    """Write strict JSON (no NaN) that is safe inside a script element: ASCII, no angle bracket, no ampersand."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def image_type(image: bytes) -> str | None:
    """Return the media type that the first bytes tell (JPEG, PNG, WebP), or None."""
    if image[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if image[:8] == b"\x89PNG\r\n\x1a\n":
        return "image/png"
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    return None


def media_type(media: bytes) -> str | None:
    """Return the media type of a sound that the first bytes tell (WAV, Ogg, MP3), or None."""
    if media[:4] == b"RIFF" and media[8:12] == b"WAVE":
        return "audio/wav"
    if media[:4] == b"OggS":
        return "audio/ogg"
    if media[:3] == b"ID3" or (media[:1] == b"\xff" and media[1:2] >= b"\xe0"):
        return "audio/mpeg"
    return None


def curves(metrics: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one series a numeric field: its name, steps, values, and how many values were not finite."""
    found: dict[str, dict[str, Any]] = {}
    for at, record in enumerate(metrics):
        step = finite(record.get("step", at), digits=0)
        if step is None:
            continue
        for name, value in record.items():
            if name in _NOT_CURVES or isinstance(value, bool | str | list | dict) or value is None:
                continue
            series = found.setdefault(str(name), {"name": str(name), "steps": [], "values": [], "not_finite": 0})
            number = finite(value, digits=None)
            if number is None:
                series["not_finite"] += 1
            else:
                series["steps"].append(int(step))
                series["values"].append(float(f"{number:.5g}"))
    for series in found.values():
        keep = thin(series["values"], MAX_POINTS)
        series["steps"] = [series["steps"][i] for i in keep]
        series["values"] = [series["values"][i] for i in keep]
    return [series for series in found.values() if series["values"]]


def thin(values: Sequence[float], limit: int) -> list[int]:
    """Choose at most `limit` indices: the ends, and each stretch's lowest and highest value, so that spikes stay."""
    n = len(values)
    if n <= limit:
        return list(range(n))
    stretches = (limit - 2) // 2
    keep = {0, n - 1}
    for s in range(stretches):
        inside = range(n * s // stretches, n * (s + 1) // stretches)
        keep |= {min(inside, key=values.__getitem__), max(inside, key=values.__getitem__)}
    return sorted(keep)


class Shelf:
    """Holds each distinct sample, picture and sound once; the sections refer to them by number.

    `images` and `media` are the characters that there is room for.
    """

    def __init__(self, *, images: int = IMAGE_BUDGET, media: int = MEDIA_BUDGET) -> None:
        self._images = _Files(image_type, images, "thumbnail", "JPEG, PNG nor WebP")
        self._media = _Files(media_type, media, "sound", "WAV, Ogg nor MP3")
        self.images, self.media = self._images.files, self._media.files
        self.samples: list[list[Any]] = []
        self._sample_at: dict[Card, int] = {}
        self.text_room: float = math.inf
        """Characters of texts that there is room for; beyond that, each is cut short."""

    @property
    def left_out(self) -> int:
        """Pictures that there was no room for."""
        return self._images.left_out

    @property
    def media_left_out(self) -> int:
        """Sounds that there was no room for."""
        return self._media.left_out

    def put(self, item: "Card") -> int:
        """Return the number of `item` on the shelf."""
        if item not in self._sample_at:
            self._sample_at[item] = len(self.samples)
            image, media = self._images.put(item.key, item.image), self._media.put(item.key, item.media)
            self.samples.append([item.key, item.label, image, self._clipped(item.text), media])
        return self._sample_at[item]

    def _clipped(self, text: str | None) -> str | None:
        if text is None:
            return None
        text = _clip(text, MAX_TEXT if self.text_room > 0 else SHORT_TEXT)
        self.text_room -= len(json.dumps(text))
        return text

    def put_all(self, items: Sequence["Card"]) -> list[int]:
        """Put `items` in an order that spreads the pictures left out evenly, should there be no room for all."""
        stride = next(s for s in range(int(len(items) * 0.618) | 1, 2 * len(items) + 3) if math.gcd(s, len(items)) == 1)
        order = [i * stride % len(items) for i in range(len(items))]
        number = {i: self.put(items[i]) for i in order}
        return [number[i] for i in range(len(items))]


class _Files:
    """Encoded files as addresses that hold their content, each once, as long as there is room."""

    def __init__(self, kind: Callable[[bytes], str | None], room: int, what: str, kinds: str) -> None:
        self.files: list[str] = []
        self.left_out = 0
        self._kind, self._room, self._what, self._kinds = kind, room, what, kinds
        self._at: dict[bytes, int] = {}

    def put(self, key: str, content: bytes | None) -> int | None:
        """The number of a file; None where there is none, or no room for it. Raises DataError for another kind."""
        if content is None:
            return None
        if content not in self._at:
            kind = self._kind(content)
            if kind is None:
                raise DataError(f"The {self._what} of {key!r} is neither {self._kinds}; encode it as one of these.")
            text = f"data:{kind};base64,{base64.b64encode(content).decode()}"
            if len(text) > self._room:
                self.left_out += 1
                return None
            self._room -= len(text)
            self._at[content] = len(self.files)
            self.files.append(text)
        return self._at[content]


def _clip(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "\u2026"
