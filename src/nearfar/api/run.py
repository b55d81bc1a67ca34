"""A run as `train` gives it back."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nearfar.contract import Encoder
    from nearfar.evaluation.result import Evaluation


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, the trained encoder, how good it is, and a sentence that says so."""

    path: Path
    encoder: "Encoder"
    evaluation: "Evaluation"
    verdict: str
    seconds: float
    """Wall time from the start to the last step."""
    after_seconds: float
    """Wall time of the evaluation and the report, which no budget counts."""

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"
