"""What an evaluation found: rows with their intervals, written to and read from plain JSON."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nearfar.diagnostics import Geometry
from nearfar.errors import DataError
from nearfar.evaluation.intervals import Interval

FORMAT = 1


@dataclass(frozen=True)
class Row:
    """The accuracy of one probe on one system's vectors."""

    system: str
    probe: str
    """"knn" or "linear"."""
    k: int | None
    """Neighbours that vote; None for the linear probe."""
    labels_per_class: int | None
    """Labels of each class that the probe was given; None: all of them."""
    accuracy: Interval
    lead: Interval | None = None
    """How far the last system is ahead of this one: the paired difference, on the same draws or test samples."""

    @property
    def outcome(self) -> str | None:
        """Say whether the last system is "ahead" of this one, "behind", or "unclear"; None for the last itself."""
        return self.lead.outcome if self.lead else None


@dataclass
class Evaluation:
    """Systems compared on the same labels and draws; the last one is the one in question, the others are baselines."""

    protocol: str
    systems: list[str]
    rows: list[Row] = field(default_factory=list)
    retrievals: dict[str, dict[str, Interval]] = field(default_factory=dict)
    """system -> score -> interval; the scores are those of `nearfar.evaluation.retrieval`."""
    geometries: dict[str, Geometry] = field(default_factory=dict)
    train: int = 0
    """Labelled training samples."""
    test: int = 0
    """Test samples; without labels, all samples."""
    classes: list[str] = field(default_factory=list)
    chance: float | None = None
    """One over the number of classes in the training labels."""
    majority: float | None = None
    """Test accuracy of always naming the most frequent class of the training labels."""
    seed: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def find(self, system: str, probe: str, labels_per_class: int | None = None, k: int | None = None) -> Row | None:
        """Look a row up; without k, the first of the protocol (k = 20 with all labels)."""
        for row in self.rows:
            if (row.system, row.probe, row.labels_per_class) == (system, probe, labels_per_class) and k in (
                None,
                row.k,
            ):
                return row
        return None

    def _headline(self, probe: str) -> Interval | None:
        row = self.find(self.systems[-1], probe)
        return row.accuracy if row else None

    @property
    def knn(self) -> Interval | None:
        """Accuracy of the last system by kNN with k = 20 and all labels; None without labels."""
        return self._headline("knn")

    @property
    def linear(self) -> Interval | None:
        """Accuracy of the last system by the linear probe with all labels; None without labels."""
        return self._headline("linear")

    @property
    def retrieval(self) -> dict[str, Interval]:
        """Retrieval scores of the last system; empty without labels."""
        return self.retrievals.get(self.systems[-1], {})

    @property
    def geometry(self) -> Geometry | None:
        """Label-free figures of the last system."""
        return self.geometries.get(self.systems[-1])

    def verdict(self) -> tuple[str, str]:
        """Judge the last system against the others: ("good" | "unclear" | "bad", a plain sentence or three)."""
        from nearfar.evaluation.verdict import judge

        return judge(self)

    def __str__(self) -> str:
        from nearfar.evaluation.table import lines

        return "\n".join(lines(self))

    def to_json(self) -> dict[str, Any]:
        """Give plain, strict JSON values (no NaN); `from_json` takes them back."""
        level, sentence = self.verdict()
        plain = {"format": FORMAT, **asdict(self), "verdict": {"level": level, "sentence": sentence}}
        result: dict[str, Any] = _finite(plain)
        return result

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Evaluation":
        """Read what `to_json` wrote; raises DataError where it is something else, or of a later format."""
        if plain.get("format") != FORMAT:
            raise DataError(
                f"This evaluation cannot be read: its format is {plain.get('format')!r}, known is {FORMAT}. "
                "Evaluate again with this version."
            )
        try:
            values = {f.name: plain[f.name] for f in fields(cls)}
            values["rows"] = [
                Row(
                    **{
                        **row,
                        "accuracy": Interval(**row["accuracy"]),
                        "lead": Interval(**row["lead"]) if row["lead"] else None,
                    }
                )
                for row in plain["rows"]
            ]
            values["retrievals"] = {
                system: {name: Interval(**value) for name, value in scores.items()}
                for system, scores in plain["retrievals"].items()
            }
            values["geometries"] = {system: Geometry(**value) for system, value in plain["geometries"].items()}
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"This evaluation is damaged ({error}); evaluate again.") from error


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
