"""An explanation as a figure: both samples side by side, a row for each method, heat over their parts."""

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

if TYPE_CHECKING:
    from nearfar.inspection.explain.explanation import Explanation, Side

_WIDE, _HIGH, _GAP = 420, 420, 24  # of a panel, and around it
_LINE, _SIZE = 24, 15
_MARK = ("Software", "nearfar explain")
_NEARER, _FURTHER = np.array([213.0, 94, 0]), np.array([0.0, 114, 178])  # Okabe and Ito: told apart by all eyes
_INK, _PALE, _PAPER = (30, 30, 30), (110, 110, 110), (255, 255, 255)
_LONGEST = 150
_ROWS, _WORDS, _MATCHES = 24, 120, 3
_SAYS = {
    "occlusion": "what the cosine loses without each part",
    "shares": "what each part adds to the cosine, which is their sum",
    "tokens": "the largest cosine of each part with one of the other",
}


def png(found: "Explanation") -> bytes:
    """The figure as a PNG file."""
    matches = found.best_matches(_MATCHES)
    numbers = (
        {one: i for i, (one, _, _) in enumerate(matches, 1)},
        {two: i for i, (_, two, _) in enumerate(matches, 1)},
    )
    sides = (found.a, found.b)
    rows: list[tuple[str, list[Image.Image]]] = []
    if any(side.parts.backdrop is not None for side in sides):
        rows.append(("", [_plain(side) for side in sides]))
    for method in dict.fromkeys([*found.a.heat, *found.b.heat]):
        marked = numbers if method == found.matched_by else ({}, {})
        panels, full = list[Image.Image](), list[str]()
        for side, marks in zip(sides, marked, strict=True):
            heat = side.heat.get(method)
            largest = 0.0 if heat is None else float(np.abs(heat).max(initial=0))
            panels.append(_plain(side) if heat is None else _panel(side, heat / (largest or 1.0), marks))
            full.append(f"{largest:.2g}")
        rows.append((f"{method}: {_SAYS[method]} (full colour: {' and '.join(full)})", panels))
    return _together(found, rows, _matched(found, matches))


def is_figure(path: Path) -> bool:
    """Whether a file is such a figure."""
    try:
        with Image.open(path) as file:
            return file.info.get(_MARK[0]) == _MARK[1]
    except (OSError, ValueError):
        return False


def overlaid(side: "Side", heat: NDArray[np.float32], wide: int, high: int) -> Image.Image:
    """Heat [P] from -1 to 1 over what the parts of a grid look like, as large as fits."""
    parts = side.parts
    assert parts.backdrop is not None
    assert parts.grid is not None
    height, width = parts.backdrop.shape[:2]
    if width < wide and height < high:  # what is small or flat is shown in full width
        width, height = wide, min(high, max(round(wide * height / width), round(0.5 * high)))
    scale = min(wide / width, high / height)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    below = Image.fromarray(parts.backdrop).convert("L").resize(shape, Image.Resampling.BICUBIC)
    shades = Image.fromarray(heat.reshape(parts.grid)).resize(shape, Image.Resampling.BILINEAR)
    paper = 90 + 0.65 * np.asarray(below, dtype=np.float64)  # colours would not be seen on what is dark
    return Image.fromarray(_mixed(paper[..., None].repeat(3, 2), np.asarray(shades)))


def _mixed(paper: NDArray[np.float64], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours over a grey ground, as strong as heat is."""
    strength = 0.8 * np.minimum(np.abs(heat), 1)[..., None]
    colour = np.where(heat[..., None] > 0, _NEARER, _FURTHER)
    return np.asarray((paper * (1 - strength) + colour * strength).round(), dtype=np.uint8)


def _plain(side: "Side") -> Image.Image:
    """A sample without heat."""
    if side.parts.backdrop is None:
        return _panel(side, np.zeros(len(side.parts), dtype=np.float32), {})
    grey = overlaid(side, np.zeros(len(side.parts), dtype=np.float32), _WIDE, _HIGH)
    return Image.fromarray(side.parts.backdrop).resize(grey.size, Image.Resampling.BICUBIC)


def _panel(side: "Side", heat: NDArray[np.float32], marks: dict[int, int]) -> Image.Image:
    """A sample with heat [P] from -1 to 1; parts that are matched have a number."""
    if side.parts.backdrop is not None and side.parts.grid is not None:
        return _with_marks(overlaid(side, heat, _WIDE, _HIGH), side.parts.grid, marks)
    return _words(side, heat, marks) if side.parts.running else _list(side, heat, marks)


def _with_marks(panel: Image.Image, grid: tuple[int, int], marks: dict[int, int]) -> Image.Image:
    draw = ImageDraw.Draw(panel)
    for part, number in marks.items():
        row, column = divmod(part, grid[1])
        left, right = (panel.width * edge / grid[1] for edge in (column, column + 1))
        top, bottom = (panel.height * edge / grid[0] for edge in (row, row + 1))
        draw.rectangle((left, top, right - 1, bottom - 1), outline=_PAPER, width=2)
        draw.text(((left + right) / 2, (top + bottom) / 2), str(number), _PAPER, _font(), anchor="mm", stroke_width=2,
                  stroke_fill=_INK)  # fmt: skip
    return panel


def _words(side: "Side", heat: NDArray[np.float32], marks: dict[int, int]) -> Image.Image:
    """Words in lines, each on the colour of its heat."""
    names = [_shown(name) + (f" [{marks[i]}]" if i in marks else "") for i, name in enumerate(side.parts.names)]
    left_out = len(names) - _WORDS
    at, boxes = [0.0, 0.0], []
    for name in names[:_WORDS]:
        width = min(_font().getlength(name) + 8, _WIDE)
        if at[0] + width > _WIDE and at[0]:
            at = [0.0, at[1] + _LINE + 6]
        boxes.append((*at, width))
        at[0] += width + 3
    panel = Image.new("RGB", (_WIDE, int(at[1]) + _LINE + 6 + (_LINE if left_out > 0 else 0)), _PAPER)
    draw = ImageDraw.Draw(panel)
    for name, value, (x, y, width) in zip(names, heat.tolist(), boxes, strict=False):
        draw.rounded_rectangle((x, y, x + width, y + _LINE), 4, fill=_tint(value))
        draw.text((x + 4, y + _LINE / 2), _cut(name, width - 6), _INK, _font(), anchor="lm")
    if left_out > 0:
        draw.text((0, panel.height - _LINE), f"and {left_out} more words", _PALE, _font())
    return panel


def _list(side: "Side", heat: NDArray[np.float32], marks: dict[int, int]) -> Image.Image:
    """Parts one below the other with a bar each; of many, those with the most heat."""
    count = len(heat)
    rows = list(range(count)) if count <= _ROWS else np.argsort(-np.abs(heat), kind="stable")[:_ROWS].tolist()
    left_out = count - len(rows)
    panel = Image.new("RGB", (_WIDE, _LINE * (len(rows) + (left_out > 0)) or _LINE), _PAPER)
    draw, middle, reach = ImageDraw.Draw(panel), _WIDE * 0.8, _WIDE * 0.19
    for line, i in enumerate(rows):
        y, name = line * _LINE, _shown(side.parts.names[i]) + (f" [{marks[i]}]" if i in marks else "")
        draw.text((0, y + _LINE / 2), _cut(name, _WIDE * 0.58), _INK, _font(), anchor="lm")
        ends = sorted((middle, middle + reach * float(np.clip(heat[i], -1, 1))))
        draw.rectangle((ends[0], y + 5, ends[1], y + _LINE - 5), fill=_tint(float(np.sign(heat[i]))))
        draw.line((middle, y, middle, y + _LINE), fill=_PALE)
    if left_out > 0:
        draw.text((0, panel.height - _LINE / 2), f"and {left_out} more with less", _PALE, _font(), anchor="lm")
    return panel


def _matched(found: "Explanation", matches: Sequence[tuple[int, int, float]]) -> list[str]:
    """A line for each pair of parts that meet most."""
    names = found.a.parts.names, found.b.parts.names
    return [
        f"{i}  {names[0][one]}  -  {names[1][two]}  ({value:.4f})" for i, (one, two, value) in enumerate(matches, 1)
    ]


def _together(found: "Explanation", rows: Sequence[tuple[str, list[Image.Image]]], matched: Sequence[str]) -> bytes:
    """All rows below each other, with a heading, what they say, and the matched parts at the end."""
    wide = 2 * _WIDE + 3 * _GAP
    heading = [f"cosine {found.similarity:.3f}"]
    notes = [side.parts.note for side in (found.a, found.b) if side.parts.note]
    ending = [*matched, *dict.fromkeys(notes)]
    high = _GAP + 2 * _LINE + sum(max(p.height for p in panels) + _GAP + bool(said) * _LINE for said, panels in rows)
    whole = Image.new("RGB", (wide, high + _LINE * (len(ending) + 1) + _GAP), _PAPER)
    draw, y = ImageDraw.Draw(whole), _GAP // 2
    draw.text((_GAP, y), heading[0], _INK, _font(_SIZE + 5))
    x = wide - _GAP
    for colour, said in ((_FURTHER, "parts them"), (_NEARER, "makes them near")):
        x -= int(_font().getlength(said))
        draw.text((x, y), said, _INK, _font())
        draw.rectangle((x - 20, y + 3, x - 6, y + 15), fill=tuple(int(one) for one in colour))
        x -= 40
    y += _LINE + 8
    for i, side in enumerate((found.a, found.b)):
        draw.text((_GAP + i * (_WIDE + _GAP), y), _tail(_shown(side.name), _WIDE), _PALE, _font())
    y += _LINE
    for said, panels in rows:
        if said:
            draw.text((_GAP, y), said, _PALE, _font())
            y += _LINE
        for i, panel in enumerate(panels):
            whole.paste(panel, (_GAP + i * (_WIDE + _GAP), y))
        y += max(panel.height for panel in panels) + _GAP
    for said in ending:
        draw.text((_GAP, y), _cut(_shown(said), wide - 2 * _GAP), _INK, _font())
        y += _LINE
    file = io.BytesIO()
    marked = PngInfo()
    marked.add_text(*_MARK)
    whole.save(file, "PNG", optimize=True, pnginfo=marked)
    return file.getvalue()


def _tint(value: float) -> tuple[int, ...]:
    """The colour of heat from -1 to 1 on white paper."""
    return tuple(_mixed(np.full((1, 3), 255.0), np.array([value], dtype=np.float32))[0].tolist())


def _shown(name: str) -> str:
    """A name in one line, without what no font can show, and no longer than any figure is wide."""
    said = " ".join(name.encode("utf-8", "replace").decode().split())
    return said if len(said) <= 2 * _LONGEST else said[:_LONGEST] + said[-_LONGEST:]


def _cut(text: str, width: float) -> str:
    """As much of a text as fits, an ellipsis behind it where that is not all."""
    if _font().getlength(text) <= width:
        return text
    return next((cut for end in range(len(text), 0, -1) if _font().getlength(cut := text[:end] + "...") <= width), "")


def _tail(text: str, width: float) -> str:
    """As much of the end of a text as fits: paths differ there."""
    return text if _font().getlength(text) <= width else _cut(text[::-1], width)[::-1]


@cache
def _font(size: int = _SIZE) -> Any:
    """A font of the system that knows many scripts, else that of PIL."""
    for name in ("NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "Arial.ttf"):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)
