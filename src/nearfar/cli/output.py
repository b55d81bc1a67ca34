"""Results as text for people."""

from collections.abc import Iterable


def columns(rows: Iterable[Iterable[object]]) -> str:
    """Rows as aligned columns; None is left empty."""
    table = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )
