"""A sheet of pictures: queries, and beside each what was found for it."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from nearfar.contract import Card
from nearfar.files import draft_of

Found = Sequence[tuple[Card, Sequence[tuple[Card, float]]]]
"""Queries, and for each the samples found with their cosine similarities."""

_TILE, _GAP, _MARGIN, _CAPTION = 132, 12, 20, 34
_ACROSS = 10
"""Samples in a line."""
_INK, _SOFT, _LINE, _ACCENT = "#18181b", "#5d6068", "#e6e6e3", "#3b5bdb"


def write(path: Path, found: Found) -> None:
    """Write the sheet as PNG, atomically; samples without a picture are shown by their text or key."""
    across = max((min(len(hits), _ACROSS) for _, hits in found), default=1)
    lines = [max(1, -(-len(hits) // _ACROSS)) for _, hits in found]
    step = _TILE + _CAPTION + _GAP
    width = 2 * _MARGIN + (across + 1) * (_TILE + _GAP) + _GAP
    sheet = Image.new("RGB", (width, 2 * _MARGIN + sum(lines) * step - _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    top = _MARGIN
    for (query, hits), count in zip(found, lines, strict=True):
        _put(sheet, draw, _MARGIN, top, query, "query", _ACCENT)
        for i, (card, similarity) in enumerate(hits):
            left = _MARGIN + (i % _ACROSS + 1) * (_TILE + _GAP) + _GAP
            _put(sheet, draw, left, top + i // _ACROSS * step, card, f"{similarity:.3f}", _INK)
        top += count * step
    with draft_of(path) as draft:
        sheet.save(draft, "PNG", optimize=True)


def _put(sheet: Image.Image, draw: ImageDraw.ImageDraw, left: int, top: int, card: Card, said: str, ink: str) -> None:
    """One sample: its picture or text, and below it two lines."""
    small = ImageFont.load_default(12)
    box = (left, top, left + _TILE - 1, top + _TILE - 1)
    picture = None if card.image is None else Image.open(io.BytesIO(card.image)).convert("RGB")
    if picture is not None:
        scale = _TILE / max(picture.size)
        size = [max(1, round(side * scale)) for side in picture.size]
        how = Image.Resampling.NEAREST if max(picture.size) <= 32 else Image.Resampling.LANCZOS
        shown = picture.resize((size[0], size[1]), how)
        sheet.paste(shown, (left + (_TILE - size[0]) // 2, top + (_TILE - size[1]) // 2))
    else:
        draw.rectangle(box, outline=_LINE)
        text = "\n".join(textwrap.wrap(card.text or card.key, 20)[:8])
        draw.multiline_text((left + 7, top + 7), text, fill=_INK, font=small)
    if ink == _ACCENT:
        draw.rectangle(box, outline=_ACCENT, width=2)
    name = card.label or card.key.rsplit("/", 1)[-1]
    draw.text((left, top + _TILE + 3), said, fill=ink, font=small)
    draw.text((left, top + _TILE + 17), _cut(draw, name, small), fill=_SOFT, font=small)


def _cut(draw: ImageDraw.ImageDraw, text: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont") -> str:
    text = " ".join(text.split())[:60]
    while draw.textlength(text, font=font) > _TILE and text:
        text = text[:-2].rstrip(".") + "."
    return text
