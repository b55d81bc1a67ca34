"""The page that compares runs: who is better and how surely, what each cost, what differs, and the curves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nearfar import files
from nearfar.evaluation.comparison import Comparison, Judged, compare
from nearfar.evaluation.table import signed
from nearfar.reporting import figures, payload
from nearfar.reporting.kept import Costs
from nearfar.reporting.plain import duration, finite, flat
from nearfar.reporting.report import page_of

_STYLES = ("base.css", "verdict.css", "evaluation.css", "curves.css", "samples.css", "comparison.css", "print.css")
_SCRIPTS = ("core.js", "verdict.js", "evaluation.js", "curves.js", "settings.js", "comparison.js", "contents.js")
_OWN = ("format", "chosen")  # parts of config.toml that set nothing


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A run as the comparison shows it."""

    judged: Judged
    costs: Costs = field(default_factory=Costs)
    metrics: Sequence[Mapping[str, Any]] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    """config.toml as nested values."""
    environment: Mapping[str, Any] = field(default_factory=dict)


def write(path: Path, runs: Sequence[Compared]) -> Comparison:
    """Write the page atomically, and return what it says; raises ConfigError for fewer than two runs."""
    found = compare([run.judged for run in runs])
    title = " and ".join(run.judged.name for run in runs) if len(runs) == 2 else f"{len(runs)} runs"
    data = build(found, runs) | {"title": title}
    files.write(path, page_of(f"{title} compared", found.headline, data, styles=_STYLES, scripts=_SCRIPTS))
    return found


def build(found: Comparison, runs: Sequence[Compared]) -> dict[str, Any]:
    """Return all that the page's script reads, as plain values that JSON can hold."""
    verdicts = [run.judged.evaluation.verdict() for run in runs]
    differing = _differing([_settings(run.config) for run in runs])
    machines = _differing([dict(flat(run.environment)) for run in runs])
    return {
        "answer": found.answer,
        "headline": found.headline,
        "cautions": found.cautions,
        "statements": [[one.statement.head, one.answer, one.statement.detail] for one in found.duels.values()],
        "runs": [
            {"name": run.judged.name, "level": verdict.level, "headline": verdict.headline}
            for run, verdict in zip(runs, verdicts, strict=True)
        ],
        "best": found.best,
        "evaluation": _evaluation(found),
        "costs": _costs(runs),
        "costs_note": "They ran on different machines or settings of the machine: times say little."
        if machines
        else "",
        "differing": differing,
        "machines": machines,
        "curves": _curves(runs),
        "alarms": [],
    }


def _evaluation(found: Comparison) -> dict[str, Any]:
    names = [run.name for run in found.runs]
    evaluations = [run.evaluation for run in found.runs]
    meanings: dict[str, str] = {}
    for one in evaluations:
        meanings |= one.meanings
    leads = {i: {row.key: row for row in duel.rows} for i, duel in found.duels.items()}
    parts: list[dict[str, Any]] = []
    for key in dict.fromkeys(key for run in found.runs for key in run.rows):
        rows = {i: run.rows[key] for i, run in enumerate(found.runs) if key in run.rows}
        first = next(iter(rows.values()))
        line = figures.line_of(first, [rows[i].value if i in rows else None for i in range(len(names))], meanings)
        for i, theirs in leads.items():
            lead = theirs.get(key)
            if lead is not None and lead.outcome is not None and lead.role != "shown":
                line["marks"].append([names[i], lead.outcome, signed(lead)])
        task = first.task.replace("_", " ")
        if not parts or parts[-1]["task"] != task:
            parts.append({"task": task, "rows": []})
        parts[-1]["rows"].append(line)
    protocols = dict.fromkeys(one.protocol for one in evaluations)
    return {
        "protocol": next(iter(protocols)) if len(protocols) == 1 else "",
        "systems": names,
        "judged": found.best,
        "names": "own",
        "sections": parts,
        "listings": [],
        "meanings": list(meanings.items()),
        "counts": [],
        "notes": [],
    }


def _costs(runs: Sequence[Compared]) -> list[list[Any]]:
    """Name, the runs' values in words, and their sizes next to the largest where less is better; unknown is None."""
    table: list[tuple[str, Callable[[Costs], float | None], Callable[[float], str], bool]] = [
        ("Training time", lambda c: c.seconds, duration, True),
        ("Steps", lambda c: c.steps, _count, False),
        ("Epochs", lambda c: c.epochs, lambda x: f"{x:,.4g}", False),
        ("Samples in the data", lambda c: c.samples, _count, False),
        ("Samples seen", lambda c: c.seen, _count, False),
        ("Samples a second", lambda c: c.seen / c.seconds if c.seen and c.seconds else None, _count, False),
        ("Memory, at most", lambda c: c.memory, _bytes, True),
        ("Memory of the accelerator, at most", lambda c: c.device_memory, _bytes, True),
        ("Processes", lambda c: c.processes, _count, False),
        ("Parameters of the encoder", lambda c: c.parameters, _count, True),
        ("Dimensions of a vector", lambda c: c.dim, _count, True),
    ]
    lines: list[list[Any]] = []
    for name, value_of, words, bar in table:
        values = [value_of(run.costs) for run in runs]
        most = max((value for value in values if value is not None), default=None)
        if most is None or (name == "Processes" and most == 1):
            continue
        shares = [None if value is None or not bar or most <= 0 else round(value / most, 4) for value in values]
        lines.append([name, [None if value is None else words(value) for value in values], shares])
    return lines


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    found = flat({name: value for name, value in config.items() if name not in _OWN})
    return {name.rpartition(".")[2]: value for name, value in found}  # no two options have one name


def _differing(tables: Sequence[Mapping[str, str]]) -> list[list[Any]]:
    """[name, the runs' values] of what is not the same in all; a value that is not there is None."""
    names = dict.fromkeys(name for table in tables for name in table)
    lines = [[name, [table.get(name) for table in tables]] for name in names]
    return [line for line in lines if len(set(line[1])) > 1]


def _curves(runs: Sequence[Compared]) -> list[dict[str, Any]]:
    """For each figure of metrics.jsonl the lines of all runs that have it."""
    found: dict[str, dict[str, Any]] = {}
    for number, run in enumerate(runs):
        seconds = {record.get("step"): finite(record.get("seconds"), digits=1) for record in run.metrics}
        for curve in payload.curves(run.metrics):
            curve |= {"run": number, "seconds": [seconds.get(step) for step in curve["steps"]]}
            found.setdefault(curve["name"], {"name": curve["name"], "lines": []})["lines"].append(curve)
    return list(found.values())


def _count(x: float) -> str:
    return f"{round(x):,}"


def _bytes(x: float) -> str:
    return f"{x / 1e9:.2f} GB" if x >= 1e9 else f"{x / 1e6:.0f} MB"
