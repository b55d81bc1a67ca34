"""From an evaluation to a plain sentence: did training help, against what, and by how much?"""

from nearfar.evaluation.intervals import Interval
from nearfar.evaluation.result import Evaluation

_PROBES = ("linear", "knn")
_SATURATED = 0.97


def judge(found: Evaluation) -> tuple[str, str]:
    """Judge the last system: the level "good", "unclear" or "bad", and why.

    good: ahead of every baseline where labels are few (if that was measured, else with all labels) and behind none
    with all labels. bad: collapsed, or behind some baseline without being ahead of it anywhere. Else unclear. Ahead
    means that a probe's paired 95 % interval excludes zero and that the other probe is not behind.
    """
    name = found.systems[-1]
    shape = found.geometries.get(name)
    if shape is not None and shape.collapsed:
        return "bad", f"The {name} has collapsed: {shape.collapsed}. Its embeddings cannot be relied on."
    if not found.rows:
        return _without_labels(found)
    if len(found.systems) == 1:
        return _alone(found)
    return _against_baselines(found)


def _against_baselines(found: Evaluation) -> tuple[str, str]:
    *baselines, name = found.systems
    counts = list(dict.fromkeys(row.labels_per_class for row in found.rows))
    few = [count for count in counts if count is not None]
    outcomes = {b: {count: _outcome(found, b, count) for count in counts} for b in baselines}
    helped_few = bool(few) and all(
        any(outcomes[b][c] == "ahead" for c in few) and all(outcomes[b][c] in ("ahead", "unclear") for c in few)
        for b in baselines
    )
    helped_all = all(outcomes[b].get(None) == "ahead" for b in baselines)
    behind_all = [b for b in baselines if outcomes[b].get(None) == "behind"]
    lost = [
        b for b in baselines if "behind" in outcomes[b].values() and not {"ahead", "mixed"} & {*outcomes[b].values()}
    ]
    if lost:
        level, head = "bad", f"Training did not help: the {name} is nowhere ahead of {_join(lost)}."
    elif helped_all and (helped_few or not few):
        level, head = "good", "Training helped."
    elif helped_few and not behind_all:
        level, head = "good", "Training helped where labels are few."
    elif helped_few:
        level, head = (
            "unclear",
            f"Training helped where labels are few, but not with all of them: behind {_join(behind_all)}.",
        )
    else:
        level, head = "unclear", "It is not clear that training helped."
    shown = [c for c in counts if c is None or c == max(few) or any(o[c] != o[max(few)] for o in outcomes.values())]
    parts = [head, *(_clause(found, count, {b: outcomes[b][count] for b in baselines}) for count in shown)]
    for b in baselines:
        best = max(
            (row.accuracy.mean for row in found.rows if row.system == b and row.labels_per_class is None), default=0
        )
        if best >= _SATURATED:
            parts.append(
                f"The {b} alone reaches {_percent(best)} with all labels, so that little is left to gain there."
            )
    return level, " ".join(parts)


def _outcome(found: Evaluation, baseline: str, count: int | None) -> str:
    rows = [row for probe in _PROBES if (row := found.find(baseline, probe, count))]
    said = {row.outcome for row in rows}
    if {"ahead", "behind"} <= said:
        return "mixed"
    return "ahead" if "ahead" in said else "behind" if "behind" in said else "unclear"


def _clause(found: Evaluation, count: int | None, outcomes: dict[str, str]) -> str:
    """Say what one number of labels gave: "With 5 labels a class: linear ..., kNN ...; ahead of ..."."""
    words = {
        "ahead": "ahead of",
        "behind": "behind",
        "mixed": "ahead by one probe and behind by the other against",
        "unclear": "no clear difference from",
    }
    reached = _scores(found, found.systems[-1], count, with_interval=True)
    said = []
    for outcome, word in words.items():
        those = [b for b, o in outcomes.items() if o == outcome]
        if those:
            said.append(f"{word} " + " and ".join(f"the {b} ({_scores(found, b, count)})" for b in those))
    return f"With {_labels(count)}: {reached}; {', '.join(said)}."


def _scores(found: Evaluation, system: str, count: int | None, *, with_interval: bool = False) -> str:
    rows = [row for probe in _PROBES if (row := found.find(system, probe, count))]
    names = {"linear": "linear", "knn": "kNN"}
    return ", ".join(f"{names[r.probe]} {r.accuracy if with_interval else _percent(r.accuracy.mean)}" for r in rows)


def _alone(found: Evaluation) -> tuple[str, str]:
    name, chance = found.systems[-1], max(found.chance or 0.0, found.majority or 0.0)
    figures: list[Interval] = [value for value in (found.linear, found.knn) if value is not None]
    reached = _scores(found, name, None, with_interval=True)
    if all(value.low <= chance for value in figures):
        return "bad", f"The {name} is no better than guessing: {reached} with all labels, chance is {_percent(chance)}."
    return "unclear", (
        f"The {name} reaches {reached} with all labels; guessing reaches {_percent(chance)}. There was no baseline to "
        "compare with, so that this does not say whether training helped."
    )


def _without_labels(found: Evaluation) -> tuple[str, str]:
    *baselines, name = found.systems
    shape = found.geometries[name]
    seen = [f"effective rank {shape.effective_rank:.1f} of {shape.dims} dimensions"] if shape.effective_rank else []
    if shape.dead_dimensions is not None:
        seen.append(f"{_percent(shape.dead_dimensions)} of them dead")
    healthy = f"No sign of collapse ({', '.join(seen)})."
    caution = "Without labels nothing can be said about accuracy."
    mine = shape.view_retrieval
    theirs = {b: v for b in baselines if (v := found.geometries[b].view_retrieval) is not None}
    if mine is None:
        return "unclear", f"{healthy} {caution}"
    views = f"A view finds its own other view {_percent(mine)} of the time"
    if not theirs:
        return "unclear", f"{healthy} {views}. {caution}"
    best = max(theirs, key=lambda b: theirs[b])
    versus = f"{views}, against {_percent(theirs[best])} for the {best}"
    # views are compared among the samples measured; two standard errors of the difference of two shares
    margin = 2 * ((mine * (1 - mine) + theirs[best] * (1 - theirs[best])) / max(shape.samples, 1)) ** 0.5
    if mine > theirs[best] + margin:
        return "good", f"{healthy} {versus}: training made views of one sample alike. {caution}"
    if mine < theirs[best] - margin:
        return "bad", f"{healthy} But {versus}: training did not make views of one sample alike. {caution}"
    return "unclear", f"{healthy} {versus}: no clear difference. {caution}"


def _labels(count: int | None) -> str:
    return "all labels" if count is None else "1 label a class" if count == 1 else f"{count} labels a class"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _join(names: list[str]) -> str:
    return " and ".join(f"the {name}" for name in names)
