"""What an evaluation found: rows with their intervals, written to and read from plain JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from nearfar.errors import DataError
from nearfar.evaluation.intervals import Interval
from nearfar.evaluation.task import Listing, Row
from nearfar.files import plain

if TYPE_CHECKING:
    from nearfar.evaluation.verdict import Verdict

FORMAT = 2
_NOT_STORED = ("influence", "by_draw", "over")  # of rows: `per_sample` keeps them


@dataclass
class Evaluation:
    """Systems compared on the same samples; the last one is the one in question, the others are baselines."""

    protocol: str
    systems: list[str]
    rows: list[Row] = field(default_factory=list)
    correlations: dict[str, list[list[float]]] = field(default_factory=dict)
    """baseline -> how the leads of its judged rows are related `[R, R]`."""
    listings: list[Listing] = field(default_factory=list)
    meanings: dict[str, str] = field(default_factory=dict)
    """Words of the rows (metrics, probes) -> what they mean, in a sentence."""
    train: int = 0
    """Labelled training samples; without labels, all."""
    test: int = 0
    """Test samples; without labels, none."""
    classes: list[str] = field(default_factory=list)
    steps: int | None = None
    """Steps that the last system was trained for, where known."""
    epochs: float | None = None
    seed: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def find(self, metric: str, system: str | None = None, **setting: str | int) -> Row | None:
        """The first row of a metric whose setting holds `setting`, of the last system where none is named.

        Underscores in names of settings stand for spaces: `find("accuracy", probe="kNN", labels_per_class=5)`.
        """
        wanted = {name.replace("_", " "): value for name, value in setting.items()}
        name = self.systems[-1] if system is None else system
        for row in self.rows:
            if (row.system, row.metric) == (name, metric) and wanted.items() <= dict(row.setting).items():
                return row
        return None

    def judged(self, system: str) -> list[Row]:
        """The rows of a system that count in the verdict."""
        return [row for row in self.rows if row.system == system and row.role == "judged"]

    def figures(self, roles: Sequence[str] = ("judged", "shown", "detail")) -> list[dict[str, Row]]:
        """Rows grouped by figure, in order: for each, system -> row."""
        groups: dict[Any, dict[str, Row]] = {}
        for row in self.rows:
            if row.role in roles:
                groups.setdefault(row.key, {})[row.system] = row
        return list(groups.values())

    @property
    def knn(self) -> Interval | None:
        """Accuracy of the last system by kNN with k = 20 and all labels; None without labels."""
        row = self.find("accuracy", probe="kNN", k=20, labels_per_class="all")
        return row.value if row else None

    @property
    def linear(self) -> Interval | None:
        """Accuracy of the last system by the linear probe with all labels; None without labels."""
        row = self.find("accuracy", probe="linear", labels_per_class="all")
        return row.value if row else None

    @property
    def retrieval(self) -> dict[str, Interval]:
        """Retrieval scores of the last system; empty without labels."""
        return self._of("retrieve")

    @property
    def label_free(self) -> dict[str, Interval]:
        """Figures of the last system that need no labels."""
        return self._of("label_free")

    def _of(self, task: str) -> dict[str, Interval]:
        return {row.metric: row.value for row in self.rows if (row.task, row.system) == (task, self.systems[-1])}

    def verdict(self) -> "Verdict":
        """Judge the last system against the others and against chance."""
        from nearfar.evaluation.verdict import judge

        return judge(self)

    def __str__(self) -> str:
        from nearfar.evaluation.table import lines

        return "\n".join(lines(self))

    def to_json(self) -> dict[str, Any]:
        """Give plain, strict JSON values (no NaN); `from_json` takes them back."""
        verdict = self.verdict()
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["rows"] = [_row_to_json(row) for row in self.rows]
        values["listings"] = [asdict(listing) for listing in self.listings]
        values["verdict"] = {
            "level": verdict.level,
            "sentence": str(verdict),
            "headline": verdict.headline,
            "caution": verdict.caution,
            "statements": [asdict(one) for one in verdict.statements],
        }
        result: dict[str, Any] = plain({"format": FORMAT, **values})
        return result

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Evaluation":
        """Read what `to_json` wrote, now or in format 1; raises DataError where it is something else or later."""
        from nearfar.evaluation.format_1 import read

        try:
            if stored.get("format") == 1:
                return read(stored)
            if stored.get("format") == FORMAT:
                values = {f.name: stored[f.name] for f in fields(cls)}
                values["rows"] = [_row_of(row) for row in stored["rows"]]
                values["listings"] = [Listing(**listing) for listing in stored["listings"]]
                return cls(**values)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"This evaluation is damaged ({error}); evaluate again.") from error
        raise DataError(
            f"This evaluation cannot be read: its format is {stored.get('format')!r}, known are 1 to {FORMAT}. "
            "Evaluate again with this version."
        )


def interval_of(stored: Mapping[str, Any]) -> Interval:
    """An interval from JSON, where a value that was not finite is null."""
    ends = {name: math.nan if stored[name] is None else float(stored[name]) for name in ("mean", "low", "high")}
    return Interval(**{**stored, **ends})


def _row_to_json(row: Row) -> dict[str, Any]:
    values = {f.name: getattr(row, f.name) for f in fields(row) if f.name not in _NOT_STORED}
    values["setting"] = dict(row.setting)
    return values | {"value": asdict(row.value), "lead": asdict(row.lead) if row.lead else None}


def _row_of(stored: Mapping[str, Any]) -> Row:
    lead = interval_of(stored["lead"]) if stored["lead"] else None
    return Row(**{**stored, "value": interval_of(stored["value"]), "lead": lead})
