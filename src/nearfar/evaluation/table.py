"""An evaluation as a table to read: 80 columns hold three systems."""

import textwrap
from itertools import groupby

from nearfar.evaluation.intervals import Interval
from nearfar.evaluation.result import Evaluation
from nearfar.evaluation.task import Row

_BEST = "*"
_SHOWN = ("judged", "shown")


def header(found: Evaluation) -> list[str]:
    """Name the columns: the figure, one a system, and the lead over the best baseline."""
    lead = ["lead over best other"] if len(found.systems) > 1 else []
    return ["", *found.systems, *lead]


def sections(found: Evaluation) -> list[tuple[str, list[list[str]]]]:
    """Give each task's heading and its rows under `header`.

    Shares are in percent, with the half width of the interval; `*` marks the best of a row.
    """
    found_sections = []
    figures = found.figures(_SHOWN)
    for task, group in groupby(figures, key=lambda rows: next(iter(rows.values())).task):
        rows = list(group)
        metrics = {next(iter(one.values())).metric for one in rows}
        single = len(metrics) == 1 and len(rows) > 1
        heading = task.replace("_", " ") + (f": {metrics.pop()}" if single else "")
        found_sections.append((heading, [_line_of(one, found.systems, single) for one in rows]))
    return found_sections


def _line_of(rows: dict[str, Row], systems: list[str], short: bool) -> list[str]:
    first = next(iter(rows.values()))
    settings = []
    for name, value in first.setting.items():
        _, per, each = name.partition(" per ")
        settings.append(str(value) if isinstance(value, str) else f"{value}/{each}" if per else f"{name}={value}")
    sign = -1 if first.higher_is_better is False else 1
    best = max(sign * row.value.mean for row in rows.values())
    marked = first.higher_is_better is not None and first.role == "judged" and len(rows) > 1
    line = [" ".join([*([] if short else [first.metric]), *settings])]
    for system in systems:
        row = rows.get(system)
        star = _BEST if marked and row is not None and sign * row.value.mean == best else ""
        line.append("" if row is None else shown(row.value, row.share) + star)
    others = [row for row in rows.values() if row.lead is not None]
    if len(systems) > 1:
        strongest = max(others, key=lambda row: sign * row.value.mean) if others else None
        line.append("" if strongest is None else f"{signed(strongest)} {strongest.outcome}")
    return line


def shown(value: Interval, share: bool) -> str:
    """Write a value, and the half width of its interval where it has one."""
    if value.mean != value.mean:
        return "not finite"
    scale, digits = (100, 1) if share else (1, 1 if abs(value.mean) >= 10 else 2)
    text = f"{scale * value.mean:.{digits}f}"
    return text if value.half_width == 0 and value.error is None else f"{text} ± {scale * value.half_width:.{digits}f}"


def signed(row: Row) -> str:
    """Write a row's lead with the half width of its interval, shares in points of percent."""
    assert row.lead is not None
    scale = 100 if row.share else 1
    return f"{scale * row.lead.mean:+.1f} ± {scale * row.lead.half_width:.1f}"


def footer(found: Evaluation) -> list[str]:
    """Say what the table was measured on, its notes and the verdict, a line each."""
    lines = []
    if found.classes:
        lines.append(
            f"{found.train} train, {found.test} test samples, {len(found.classes)} classes. Percent, 95 % intervals."
        )
    verdict = found.verdict()
    first, *others = verdict.sentences
    return [*lines, *found.notes, f"{verdict.level}: {first}", *others]


def lines(found: Evaluation) -> list[str]:
    """Render as plain text: three systems fit 80 columns, and the lines under the table are wrapped there."""
    text: list[str] = []
    parts = sections(found)
    body = [line for _, rows in parts for line in rows]
    if body:
        names, widths = _layout(header(found), body)
        depth = max(len(words) for words in names)
        tops = [[""] * (depth - len(words)) + words for words in names]
        text += [_line([top[i] for top in tops], widths) for i in range(depth)]
        for heading, rows in parts:
            text.append(f"{heading} ".ljust(sum(widths) + 2 * (len(widths) - 1), "-"))
            text += [_line(line, widths) for line in rows]
    for line in footer(found):
        text += textwrap.wrap(line, 80, subsequent_indent="  ")
    return text


def _layout(names: list[str], body: list[list[str]]) -> tuple[list[list[str]], list[int]]:
    """Break the headings to the width of what stands under them: parts of each heading, and widths."""
    widths = [
        max([*(len(line[i]) for line in body), *(len(word) for word in name.split()), 1]) if body else len(name)
        for i, name in enumerate(names)
    ]
    return [textwrap.wrap(name, width) or [""] for name, width in zip(names, widths, strict=True)], widths


def _line(texts: list[str], widths: list[int]) -> str:
    first, *others = zip(texts, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]).rstrip()
