"""From rows to an answer for each question: does training help, is it better than the raw input, and than chance?

Every answer comes from a joint test of all judged rows (`joint.py`), and names the row that says most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from nearfar.config import too_short
from nearfar.evaluation.joint import MARGIN, Tested, error_of, jointly
from nearfar.evaluation.task import RAW, STARTS, UNTRAINED, Row

if TYPE_CHECKING:
    from nearfar.evaluation.result import Evaluation

Level = Literal["good", "mixed", "unclear", "bad"]
Answer = Literal["yes", "no", "mixed", "unclear"]

_WORDS = {
    UNTRAINED: {
        "yes": "Training helps",
        "no": "Training did harm",
        "mixed": "Training helps in some ways and harms in others",
        "unclear": "It is not clear that training helps",
    },
    None: {
        "yes": "Better than {}",
        "no": "Worse than {}",
        "mixed": "Better than {} in some ways, worse in others",
        "unclear": "Not clearly different from {}",
    },
}
_LEAST = f"no figure is sure to differ by more than {100 * MARGIN:.0f} points"
_QUESTIONS = dict.fromkeys(STARTS, "Does training help?")


@dataclass(frozen=True)
class Statement:
    """The answer to one question: `head` in a few words, `detail` with the figure that says most."""

    question: str
    answer: Answer
    head: str
    detail: str

    def __str__(self) -> str:
        return f"{self.head}: {self.detail}" if self.detail else f"{self.head}."


@dataclass(frozen=True)
class Verdict:
    """What an evaluation comes to.

    level: "good": every question that was asked is answered yes. "mixed": answers, or rows within one, contradict each
    other. "bad": collapsed, no better than chance, or worse than a baseline and ahead of none. "unclear": none of
    these, or too short a training to tell.
    """

    level: Level
    headline: str
    """The answers in a few words."""
    caution: str = ""
    """What to bear in mind: too short a training, no labels, no baseline."""
    statements: tuple[Statement, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """The caution and the statements; the headline where there are none."""
        return [*filter(None, [self.caution]), *(map(str, self.statements) if self.statements else [self.headline])]

    def __str__(self) -> str:
        return " ".join(self.sentences)


def judge(found: "Evaluation") -> Verdict:
    """Judge the last system of an evaluation."""
    *baselines, name = found.systems
    fault = next((row.fault for row in found.rows if row.system == name and row.fault), None)
    if fault is not None:
        return Verdict("bad", f"The {name} has collapsed: {fault}. Its embeddings cannot be relied on.")
    against = {b: one for b in sorted(baselines, key=_importance) if (one := _against(b, found)) is not None}
    compared = [one.answer for one in against.values()]  # training first
    chance = _better_than_chance(found)
    statements = [*against.values(), *([] if chance is None else [chance])]
    level = _level(compared, None if chance is None else chance.answer)
    cautions = []
    short = too_short(found.steps, found.epochs)
    if short is not None:
        level = "unclear"
        cautions.append(short)
    if not found.classes and all(row.task == "label_free" for row in found.rows if row.role == "judged"):
        cautions.append("Without labels of two classes nothing can be said about accuracy.")
    if not compared:
        cautions.append("There is no baseline to say whether training helps.")
    return Verdict(level, _headline(against, chance), " ".join(cautions), tuple(statements))


def _level(compared: Sequence[Answer], chance: Answer | None) -> Level:
    if chance in ("no", "unclear") and "yes" not in compared and "mixed" not in compared:
        return "bad"
    if "mixed" in compared or {"yes", "no"} <= set(compared):
        return "mixed"
    if "no" in compared:
        return "bad"
    return "good" if compared and set(compared) == {"yes"} and chance in ("yes", None) else "unclear"


def _headline(against: Mapping[str, Statement], chance: Statement | None) -> str:
    """The answers in a few words, those alike in one."""
    alike: dict[Answer, list[str]] = {}
    for baseline, one in against.items():
        if baseline not in STARTS:
            alike.setdefault(one.answer, []).append(baseline)
    heads = [one.head for baseline, one in against.items() if baseline in STARTS]
    for answer, names in alike.items():
        called = [_called(name) for name in names]
        heads.append(_WORDS[None][answer].format(" and ".join(filter(None, [", ".join(called[:-1]), called[-1]]))))
    if chance is not None and not any(one.answer == "yes" for one in against.values()):
        heads.append(chance.head)  # better than chance goes without saying where a baseline was beaten
    if not heads:
        return "Nothing shows whether training helps."
    return "; ".join([heads[0], *(head[0].lower() + head[1:] for head in heads[1:])]) + "."


def _called(baseline: str) -> str:
    """A baseline in a sentence: proper names, such as EASE or TF-IDF, have no article."""
    return baseline if baseline[0].isupper() else f"the {baseline}"


def _importance(baseline: str) -> int:
    return [*STARTS, RAW].index(baseline) if baseline in (*STARTS, RAW) else len(STARTS) + 1


def _against(baseline: str, found: "Evaluation") -> Statement | None:
    """The last system against a baseline; None where no judged row compares them."""
    rows = [row for row in found.judged(baseline) if row.lead is not None]
    leads = [row.lead for row in rows if row.lead is not None]
    tested = jointly(rows, leads, found.correlations.get(baseline))
    if not tested:
        return None
    ahead, behind = ([t for t in tested if t.outcome == outcome] for outcome in ("ahead", "behind"))
    answer: Answer = "mixed" if ahead and behind else "yes" if ahead else "no" if behind else "unclear"
    words = _WORDS[UNTRAINED if baseline in STARTS else None][answer].format(_called(baseline))
    parts = []
    for word, those in (("ahead", ahead), ("behind", behind)):
        if those:
            best = max(those, key=_size)
            parts.append(f"{word} in {len(those)} of {len(tested)} figures, most in {lead_in_words(best)}")
    if not parts:
        parts.append(f"{_LEAST}; most {lead_in_words(max(tested, key=_size))}")
    question = _QUESTIONS.get(baseline, f"Is it better than {_called(baseline)}?")
    return Statement(question, answer, words, "; ".join(parts) + ".")


def _better_than_chance(found: "Evaluation") -> Statement | None:
    """Whether any figure of the last system is better than it would be without knowledge."""
    rows = [row for row in found.judged(found.systems[-1]) if row.chance is not None]
    leads = [
        replace(row.value, **{end: getattr(row.value, end) - (row.chance or 0.0) for end in ("mean", "low", "high")})
        for row in rows
    ]
    tested = jointly(rows, leads)
    if not tested:
        return None
    yes = [t for t in tested if t.outcome == "ahead"]
    if yes:
        best = max(yes, key=_size)
        text = f"{_figure(best.row)} is {best.row.value}, by chance {100 * (best.row.chance or 0):.1f} %."
        return Statement("Is anything better than chance?", "yes", "Better than chance", text)
    best = max(tested, key=lambda t: t.difference.mean)
    text = (
        f"{_LEAST}; the best is {_figure(best.row)} with {best.row.value}, by chance "
        f"{100 * (best.row.chance or 0):.1f} %; as one of {len(tested)} it leads by {100 * best.low:.1f} to "
        f"{100 * best.high:.1f} points."
    )
    return Statement("Is anything better than chance?", "no", "Not clearly better than chance", text)


def _size(tested: Tested) -> float:
    """How large a difference is: in errors, for figures of different units."""
    return (
        abs(tested.difference.mean)
        if tested.row.share
        else abs(tested.difference.mean) / (error_of(tested.difference) or 1.0)
    )


def _figure(row: Row) -> str:
    return f"{row.name} ({row.metric})" if row.setting else row.metric


def lead_in_words(tested: Tested) -> str:
    """A figure and its difference with the simultaneous interval."""
    scale, unit = (100, " points") if tested.row.share else (1, "")
    mean, low, high = (scale * value for value in (tested.difference.mean, tested.low, tested.high))
    return f"{_figure(tested.row)}: {mean:+.1f}{unit} ({low:.1f} to {high:.1f})"
