"""An evaluation in the one shape that the page shows: a cell for each system in each row."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nearfar.reporting.plain import finite, flat, plain

_COUNTS = ("train", "test", "classes", "seed")
_SHARES = ("chance", "majority")

Estimate = dict[str, float | None]


def compare(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Read an evaluation; what is missing or not understood is left out.

    Rows may be one a system ({"system", "probe", "k", "labels_per_class", "accuracy", "lead"}, as `evaluation.json` has
    them), or one a probe with "cells" and "ahead". `figures` hold "cells", one a system, or a single "value".
    """
    systems = [str(name) for name in raw.get("systems") or []]
    rows: dict[tuple[str, Any, Any], dict[str, Any]] = {}
    for record in raw.get("rows") or []:
        if not isinstance(record, Mapping):
            continue
        key = (str(record.get("probe", "")), plain(record.get("k")), plain(record.get("labels_per_class")))
        row = rows.setdefault(key, {"cells": {}, "ahead": {}})
        for system, cell, mark in _cells(record):
            if system not in systems:
                systems.append(system)
            row["cells"][system] = cell
            if mark is not None:
                row["ahead"][system] = mark
        row["ahead"].update({str(name): str(mark) for name, mark in (record.get("ahead") or {}).items()})
    figures: list[dict[str, Any]] = []
    for part, names in (("retrieval", ("retrieval", "retrievals")), ("geometry", ("geometry", "geometries"))):
        for name in names:
            figures.extend({"part": part, **figure} for figure in _figures(raw.get(name), systems))
    notes = raw.get("notes") or []
    return {
        "protocol": str(raw.get("protocol") or ""),
        "systems": systems,
        "rows": [
            {
                "probe": probe,
                "k": k,
                "labels": labels,
                "cells": [row["cells"].get(system) for system in systems],
                "ahead": [[system, mark] for system, mark in row["ahead"].items()],
            }
            for (probe, k, labels), row in rows.items()
        ],
        "figures": figures,
        "counts": list(_counts(raw)),
        "notes": [notes] if isinstance(notes, str) else [str(note) for note in notes],
    }


def _cells(record: Mapping[str, Any]) -> Iterable[tuple[str, Estimate | None, str | None]]:
    """Yield (system, accuracy, whether the last system is ahead of it) of a row in either form."""
    for cell in record.get("cells") or []:
        if isinstance(cell, Mapping):
            yield str(cell.get("system")), _estimate(cell), None
    if "accuracy" in record:
        yield str(record.get("system")), _estimate(record["accuracy"]), _outcome(record.get("lead"))


def _outcome(lead: Any) -> str | None:
    """Read a paired difference: ahead or behind where its interval excludes zero."""
    found = _estimate(lead)
    if found is None:
        return None
    low, high = found["low"], found["high"]
    count = finite(lead.get("count", 2)) if isinstance(lead, Mapping) else None
    if low is None or high is None or count is None or count < 2:
        return "unclear"
    return "ahead" if low > 0 else "behind" if high < 0 else "unclear"


def _figures(block: Any, systems: Sequence[str]) -> Iterable[dict[str, Any]]:
    """Yield a block's figures as {name, cells} (one a system) or {name, value}; systems are outer or inner names."""
    if not isinstance(block, Mapping):
        return
    block = {str(name): value for name, value in block.items()}
    if not set(block) & set(systems):
        for name, value in block.items():
            inner = {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}
            if set(inner) & set(systems):
                yield {"name": name, "cells": [_estimate(inner.get(system)) for system in systems]}
            elif (one := _estimate(value)) is not None:
                yield {"name": name, "value": one}
        return
    scores = {
        system: {"": value} if _estimate(value) is not None or not isinstance(value, Mapping) else value
        for system, value in block.items()
    }
    for name in dict.fromkeys(str(name) for values in scores.values() for name in values):
        cells = [_estimate(scores.get(system, {}).get(name)) for system in systems]
        if any(cell is not None for cell in cells):
            yield {"name": name, "cells": cells}


def _estimate(value: Any) -> Estimate | None:
    """Read {"mean", "low", "high"} or a bare number; None where there is no finite mean."""
    if not isinstance(value, Mapping):
        mean = finite(value)
        return None if mean is None else {"mean": mean, "low": None, "high": None}
    mean = finite(value.get("mean", value.get("value")))
    if mean is None:
        return None
    low, high = finite(value.get("low")), finite(value.get("high"))
    known = low is not None and high is not None
    return {"mean": mean, "low": low if known else None, "high": high if known else None}


def _counts(raw: Mapping[str, Any]) -> Iterable[list[str]]:
    yield from flat(raw.get("counts") or {})
    for name in _COUNTS:
        if raw.get(name) is not None:
            yield [name, str(len(raw[name]) if isinstance(raw[name], list) else plain(raw[name]))]
    for name in _SHARES:
        share = finite(raw.get(name))
        if share is not None:
            yield [name, f"{100 * share:.1f} %"]
