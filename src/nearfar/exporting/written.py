"""What an export has written, as its card tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Written:
    """`loading` is Python code that runs in the export's folder, and ends with `vectors` of a few samples."""

    library: str
    loading: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What each input is, by its name."""
    notes: list[str] = field(default_factory=list)
    """What was checked, and what does not go along."""
