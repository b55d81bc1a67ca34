"""An evaluation as a table to read: 80 columns hold three systems."""

import textwrap
from typing import TYPE_CHECKING, Literal

from nearfar.evaluation.intervals import Interval
from nearfar.evaluation.result import Evaluation, Row

if TYPE_CHECKING:
    from rich.table import Table

_BEST = "*"


def header(found: Evaluation) -> list[str]:
    """Name the columns: labels a class, probe, one a system, and the lead over the best baseline."""
    lead = ["lead over best other"] if len(found.systems) > 1 else []
    return ["labels /class", "probe", *found.systems, *lead]


def cells(found: Evaluation) -> list[list[str]]:
    """Give the rows under `header`, in percent with the half width of the interval; `*` marks the highest of a row."""
    groups: dict[tuple[int | None, str, int | None], dict[str, Row]] = {}
    for row in found.rows:
        groups.setdefault((row.labels_per_class, row.probe, row.k), {})[row.system] = row
    lines = []
    for (count, probe, k), rows in groups.items():
        best = max(row.accuracy.mean for row in rows.values())
        shown = [
            rows[s].accuracy.percent() + (_BEST if rows[s].accuracy.mean == best and len(rows) > 1 else "")
            for s in found.systems
        ]
        name = "linear" if probe == "linear" else f"kNN k={k}"
        lines.append(["all" if count is None else str(count), name, *shown])
        others = [row for row in rows.values() if row.lead is not None]
        if others:
            strongest = max(others, key=lambda row: row.accuracy.mean)
            assert strongest.lead is not None
            lines[-1].append(f"{_signed(strongest.lead)} {strongest.outcome}")
    return lines


def footer(found: Evaluation) -> list[str]:
    """Say what the table was measured on, its notes and the verdict, a line each."""
    lines = []
    if found.rows:
        lines.append(
            f"{found.train} train, {found.test} test samples, {len(found.classes)} classes; always naming the most "
            f"frequent class: {100 * (found.majority or 0):.1f}. Percent, 95 % intervals."
        )
    for name, score in (("precision@1", "precision@1"), ("MAP@R", "map@r")):
        values = [f"{s} {found.retrievals[s][score].percent()}" for s in found.systems if found.retrievals.get(s)]
        if values:
            lines.append(f"retrieval {name}: {', '.join(values)}")
    for system, shape in found.geometries.items():
        rank = "not finite" if shape.effective_rank is None else f"{shape.effective_rank:.1f}"
        dead = "" if shape.dead_dimensions is None else f", dead dimensions {100 * shape.dead_dimensions:.0f} %"
        lines.append(f"{system}: effective rank {rank} of {shape.dims}{dead}")
    level, sentence = found.verdict()
    return [*lines, *found.notes, f"{level}: {sentence}"]


def lines(found: Evaluation) -> list[str]:
    """Render as plain text: three systems fit 80 columns, and the lines under the table are wrapped there."""
    text: list[str] = []
    body = cells(found)
    if body:
        names, widths = _layout(header(found), body)
        depth = max(len(parts) for parts in names)
        tops = [[""] * (depth - len(parts)) + parts for parts in names]
        text += [_line([top[i] for top in tops], widths) for i in range(depth)]
        text.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
        text += [_line(line, widths) for line in body]
    for line in footer(found):
        text += textwrap.wrap(line, 80, subsequent_indent="  ")
    return text


def table(found: Evaluation) -> "Table":
    """Render as a rich Table, 80 columns for three systems; `footer` holds the lines that belong under it."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    colours = {"ahead": "green", "behind": "red", "unclear": "yellow"}
    drawn = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    body = cells(found)
    names, widths = _layout(header(found), body)
    for i, (parts, width) in enumerate(zip(names, widths, strict=True)):
        drawn.add_column(Text("\n".join(parts)), justify=_side(i), width=width, vertical="bottom", no_wrap=True)
    for line in body:
        words = [Text(cell, style="bold" if cell.endswith(_BEST) else "") for cell in line]
        if len(found.systems) > 1:
            words[-1].stylize(colours[line[-1].split()[-1]])
        drawn.add_row(*words)
    return drawn


def _layout(names: list[str], body: list[list[str]]) -> tuple[list[list[str]], list[int]]:
    """Break the headings to the width of what stands under them: parts of each heading, and widths."""
    widths = [
        max(*(len(line[i]) for line in body), *(len(word) for word in name.split()), 1) if body else len(name)
        for i, name in enumerate(names)
    ]
    return [textwrap.wrap(name, width) or [""] for name, width in zip(names, widths, strict=True)], widths


def _side(column: int) -> Literal["left", "right"]:
    return "left" if column == 1 else "right"


def _signed(lead: Interval) -> str:
    return f"{100 * lead.mean:+.1f} ± {100 * lead.half_width:.1f}"


def _line(texts: list[str], widths: list[int]) -> str:
    sides = {"left": str.ljust, "right": str.rjust}
    return "  ".join(sides[_side(i)](t, w) for i, (t, w) in enumerate(zip(texts, widths, strict=True))).rstrip()
