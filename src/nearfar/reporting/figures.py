"""An evaluation in the shape that the page shows: for each task its figures, a cell for each system."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from nearfar.evaluation.intervals import Interval
from nearfar.evaluation.result import Evaluation
from nearfar.evaluation.table import signed
from nearfar.evaluation.task import Row
from nearfar.evaluation.verdict import Verdict
from nearfar.reporting.plain import finite


def verdict_of(verdict: Verdict) -> dict[str, Any]:
    """The verdict's level, headline, caution and statements."""
    return {
        "level": verdict.level,
        "headline": verdict.headline,
        "caution": verdict.caution,
        "statements": [[s.question, s.answer, s.head, s.detail] for s in verdict.statements],
    }


def sections(found: Evaluation) -> list[dict[str, Any]]:
    """Each task's figures in order, with a cell a system and how the last system compares with each other one."""
    parts = []
    for task, group in groupby(found.figures(), key=lambda rows: _first(rows).task):
        parts.append({"task": task.replace("_", " "), "rows": [_figure(rows, found) for rows in group]})
    return parts


def _figure(rows: dict[str, Row], found: Evaluation) -> dict[str, Any]:
    line = line_of(_first(rows), [rows[s].value if s in rows else None for s in found.systems], found.meanings)
    line["marks"] = [[s, row.outcome, signed(row)] for s, row in rows.items() if row.outcome is not None]
    return line


def line_of(row: Row, values: Sequence[Interval | None], meanings: Mapping[str, str]) -> dict[str, Any]:
    """A figure of a table: `row` says which, `values` are the cells; what is ahead of what is still to be marked."""
    words = [row.metric, *(value for value in row.setting.values() if isinstance(value, str))]
    return {
        "name": row.name,
        "metric": row.metric,
        "role": row.role,
        "share": row.share,
        "better": {True: 1, False: -1, None: 0}[row.higher_is_better],
        "chance": finite(row.chance),
        "cells": [None if value is None else _cell(value) for value in values],
        "marks": [],
        "words": [word for word in words if word in meanings],
    }


def counts(found: Evaluation) -> Iterable[list[str]]:
    """What was judged on: name and number."""
    named = {"Training samples": found.train, "Test samples": found.test, "Classes": len(found.classes)}
    yield from ([name, f"{number:,}"] for name, number in named.items() if number)
    yield ["Seed", str(found.seed)]


def _first(rows: dict[str, Row]) -> Row:
    return next(iter(rows.values()))


def _cell(value: Interval) -> dict[str, float | None] | None:
    mean = finite(value.mean)
    if mean is None:
        return None
    known = value.error is not None or value.half_width > 0
    return {"mean": mean, "low": finite(value.low) if known else None, "high": finite(value.high) if known else None}
