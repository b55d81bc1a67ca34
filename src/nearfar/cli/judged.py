"""How a judged encoder is shown, as text and in the JSON object."""

from pathlib import Path
from typing import Any

from nearfar.cli.form import Result


def of_run(run: Any) -> Result:
    """A finished run: its evaluation, and where it lies."""
    page = Path(run.path) / "report.html"
    report = page if page.exists() else None
    lines = [f"run     {run.path}"] + ([f"report  {page}"] if report else [])
    shown = [] if run.evaluation is None else [table(run.evaluation)]
    return {"path": run.path, **judged(run.evaluation), "report": report}, "\n".join(shown + lines)


def judged(evaluation: Any) -> dict[str, Any]:
    """An evaluation with its verdict, as text and as a level; None where there is none."""
    verdict = None if evaluation is None else evaluation.verdict()
    said = (None, None) if verdict is None else (str(verdict), verdict.level)
    return {"verdict": said[0], "level": said[1], "evaluation": evaluation}


def table(found: Any) -> str:
    """The evaluation, with its verdict in the last line."""
    from nearfar.evaluation.table import lines

    return "\n".join(lines(found))
