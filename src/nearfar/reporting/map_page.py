"""The page of a map: points to zoom into, to search and to draw a lasso around, and the samples behind them."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar import files, progress
from nearfar.contract import Card
from nearfar.inspection.colours import Colour
from nearfar.inspection.projection import sample_evenly
from nearfar.reporting.payload import Shelf
from nearfar.reporting.plain import finite
from nearfar.reporting.report import page_of

MOST_BYTES = 6_000_000
"""Of a page: of samples with long names and texts fewer are shown."""
PICTURED = 2_000
"""Samples that have a picture or a sound on the page."""
_PICTURES, _SOUNDS, _TEXTS = 3_000_000, 1_000_000, 1_200_000
_SIDE, _LARGE = 64, 1_500
_LEAST_TEXT, _MOST_TEXT = 24, 300
_GRID = 65_535
_PIECE = 250
_STYLES = ("base.css", "overview.css", "map.css", "samples.css", "atlas.css", "print.css")
_SCRIPTS = ("core.js", "scatter.js", "legend.js", "atlas.js", "contents.js")

Cards = Callable[[NDArray[np.int64]], list[Card]]


def write(
    path: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    xy: NDArray[np.float32],
    neighbours: NDArray[np.int64],
    colours: Sequence[Colour],
    chosen: str,
    bare: Sequence[Card],
    cards: Cards,
    fidelity: str | None,
    notes: Sequence[str],
    origin: str | None = None,
) -> None:
    """Write the page of n points atomically: places `xy` [n, 2] in [0, 1], nearest others [n, k], columns [n].

    `chosen` is the column that colours them at first, `bare` [n] are their keys and labels, `cards` gives all that is
    shown of some of them, `origin` is the folder that keys are paths from. At most `PICTURED` points have a picture or
    a sound, evenly chosen, and where the page would be larger than 6 MB, texts are cut shorter. Raises as
    `files.write`.
    """
    shown = _cards(bare, cards)
    data: dict[str, Any] = {
        "title": title,
        "facts": [[name, value] for name, value in facts.items()],
        "fidelity": fidelity,
        "origin": origin,
        "xy": np.round(xy * _GRID).astype(int).reshape(-1).tolist(),
        "neighbours": neighbours.tolist(),
        "colours": [_column(one) for one in colours],
        "chosen": next(i for i, one in enumerate(colours) if one.name == chosen),
    }
    length = max(_LEAST_TEXT, min(_MOST_TEXT, _TEXTS // max(len(xy), 1)))
    while True:
        shelf = Shelf(images=_PICTURES, media=_SOUNDS)
        items = shelf.put_all([replace(one, text=_cut(one.text, length)) for one in shown])
        said = [*notes, *_left_out(shown, shelf)]
        data |= {"items": items, "samples": shelf.samples, "images": shelf.images, "media": shelf.media, "notes": said}
        page = page_of(f"Map of {title}", fidelity or "", data, styles=_STYLES, scripts=_SCRIPTS)
        if len(page) <= MOST_BYTES or length <= 1:
            break
        length //= 4
    files.write(path, page)


def _cards(bare: Sequence[Card], cards: Cards) -> list[Card]:
    """The cards of all points where they are texts; of pictures and sounds `PICTURED`, and `bare` ones else."""
    rows = np.arange(len(bare))
    first = cards(rows[:_PIECE])
    if any(one.image is not None or one.media is not None for one in first):
        rows = sample_evenly(len(bare), PICTURED, 0)
    found = list(bare)
    pieces = [rows[start : start + _PIECE] for start in range(0, len(rows), _PIECE)]
    for some in progress.track(pieces, "samples"):
        for row, card in zip(some.tolist(), cards(some), strict=True):
            found[row] = _smaller(card)
    return found


def _smaller(card: Card) -> Card:
    """A card whose picture is small: thousands of them must fit on a page."""
    if card.image is None or len(card.image) <= _LARGE:
        return card
    from PIL import Image

    picture = Image.open(io.BytesIO(card.image)).convert("RGB")
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=60, method=2)
    return replace(card, image=file.getvalue())


def _column(colour: Colour) -> dict[str, Any]:
    """A column as the page takes it: numbers, or the number of each one's class in `names`."""
    if colour.numbers:
        return {"name": colour.name, "values": [finite(value, digits=None) for value in colour.values]}
    names = list(dict.fromkeys(value for value in colour.values if value is not None))
    number = {name: i for i, name in enumerate(names)}
    return {"name": colour.name, "names": names, "of": [-1 if one is None else number[one] for one in colour.values]}


def _left_out(shown: Sequence[Card], shelf: Shelf) -> list[str]:
    """What the page says of the pictures and sounds that it has not."""
    said = []
    for what, of, left in (("picture", "image", shelf.left_out), ("sound", "media", shelf.media_left_out)):
        count = sum(getattr(one, of) is not None for one in shown) - left
        if 0 < count < len(shown):
            said.append(f"To keep this file small {count:,} of {len(shown):,} samples have their {what} here.")
    return said


def _cut(text: str | None, length: int) -> str | None:
    return text if text is None or len(text) <= length else text[: length - 1] + "\u2026"
