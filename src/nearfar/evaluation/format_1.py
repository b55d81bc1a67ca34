"""Evaluations as they were written before 0.2 (format 1): probes, retrieval scores and label-free figures apart."""

from collections.abc import Iterator, Mapping
from typing import Any

from nearfar.evaluation.intervals import figure
from nearfar.evaluation.result import Evaluation, interval_of
from nearfar.evaluation.task import Row

_PROBES = {"knn": "kNN", "linear": "linear"}
_KEPT = ("protocol", "systems", "train", "test", "classes", "seed", "seconds", "notes")


def read(plain: Mapping[str, Any]) -> Evaluation:
    """Read the JSON of format 1; raises KeyError, TypeError or AttributeError where it is damaged."""
    found = Evaluation(**{name: plain[name] for name in _KEPT})
    chance = max((value for name in ("chance", "majority") if (value := plain[name]) is not None), default=None)
    found.rows = [*_probes(plain, chance), *_retrieval(plain), *_label_free(plain)]
    return found


def _probes(plain: Mapping[str, Any], chance: float | None) -> Iterator[Row]:
    for row in plain["rows"]:
        setting: dict[str, str | int] = {"probe": _PROBES[row["probe"]]}
        if row["k"] is not None:
            setting["k"] = row["k"]
        setting["labels per class"] = "all" if row["labels_per_class"] is None else row["labels_per_class"]
        lead = interval_of(row["lead"]) if row["lead"] else None
        yield Row(row["system"], "classify", "accuracy", setting, interval_of(row["accuracy"]), lead, chance=chance)


def _retrieval(plain: Mapping[str, Any]) -> Iterator[Row]:
    for system, scores in plain["retrievals"].items():
        for metric, value in scores.items():
            role = "shown" if metric in ("precision@1", "map@r") else "detail"
            yield Row(system, "retrieve", metric, {}, interval_of(value), role=role)  # type: ignore[arg-type]


def _label_free(plain: Mapping[str, Any]) -> Iterator[Row]:
    from nearfar.evaluation.tasks.label_free import ROLES, collapse

    for metric in ("view retrieval", "effective rank", "dead dimensions", "uniformity", "mean cosine"):
        for system, old in plain["geometries"].items():
            figures = {name: _number(old[name.replace(" ", "_")]) for name in ROLES}
            value = old[metric.replace(" ", "_")]
            if metric == "view retrieval" and value is None:
                continue
            yield Row(
                system,
                "label_free",
                metric,
                {},
                figure(_number(value), old["samples"]),
                higher_is_better={"view retrieval": True, "dead dimensions": False}.get(metric),
                share=metric in ("view retrieval", "dead dimensions"),
                role=ROLES.get(metric, "shown"),
                fault=collapse(figures, old["samples"], old["dims"]) if metric == "effective rank" else None,
            )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
