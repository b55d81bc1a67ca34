"""A run as `train` gives it back."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nearfar.contract import Encoder
    from nearfar.evaluation.result import Evaluation
    from nearfar.evaluation.verdict import Verdict


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, the trained encoder, how good it is, and what that comes to."""

    path: Path
    encoder: "Encoder"
    evaluation: "Evaluation"
    verdict: "Verdict"
    """What the evaluation comes to: `.level`, `.headline`, `.statements`; `str` gives it in sentences."""
    seconds: float
    """Wall time from the start to the last step."""
    after_seconds: float
    """Wall time of the evaluation and the report, which no budget counts."""

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"
