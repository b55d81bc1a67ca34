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
    """A finished run: its folder, the trained encoder, and how good it is."""

    path: Path
    encoder: "Encoder"
    evaluation: "Evaluation | None"
    """None where it was not asked for."""
    seconds: float
    """Wall time from the start to the last step."""
    after_seconds: float
    """Wall time of the evaluation and the report, which no budget counts."""

    @property
    def verdict(self) -> "Verdict | None":
        """What the evaluation comes to: `.level`, `.headline`, `.statements`; `str` gives it in sentences."""
        return None if self.evaluation is None else self.evaluation.verdict()

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"
