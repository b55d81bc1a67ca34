"""The page of a tuning: each setting against the score, and all trials."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nearfar import files
from nearfar.reporting.plain import finite
from nearfar.reporting.report import page_of

_STYLES = ("base.css", "overview.css", "tuning.css", "print.css")
_SCRIPTS = ("core.js", "tuning.js", "contents.js")


def write(
    path: Path,
    *,
    title: str,
    advice: str,
    judge: str,
    percent: bool,
    facts: Sequence[tuple[str, str]],
    settings: Sequence[Mapping[str, Any]],
    trials: Sequence[Mapping[str, Any]],
) -> None:
    """Write the page atomically; raises as `files.write`.

    Each of `settings` has a name, its choices or whether its scale is logarithmic, its usual value and the share of the
    scores' variance that it explains; each of `trials` a number, state, score and values by setting. With `percent`
    scores are shares.
    """
    data = {
        "title": title,
        "advice": advice,
        "judge": judge,
        "percent": percent,
        "facts": [list(one) for one in facts],
        "settings": [{**one, "matters": finite(one["matters"])} for one in settings],
        "trials": [{**one, "score": finite(one["score"], 6)} for one in trials],
    }
    files.write(path, page_of(f"Tuning on {title}", advice, data, styles=_STYLES, scripts=_SCRIPTS))
