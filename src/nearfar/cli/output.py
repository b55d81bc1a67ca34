"""Results as plain values for JSON, and as text for people."""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from os import PathLike, fspath
from typing import Any


def plain(value: Any) -> Any:
    """Any result as what JSON has; a number that is not finite becomes null, an unknown object its text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, PathLike):
        return fspath(value)
    if hasattr(value, "to_json"):
        return plain(value.to_json())
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if not f.name.startswith("_")}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, Sequence | Set):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # arrays and tensors, and their scalars
        return plain(value.tolist())
    return str(value)


def columns(rows: Iterable[Iterable[object]]) -> str:
    """Rows as aligned columns; None is left empty."""
    table = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )
