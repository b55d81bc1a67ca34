"""`nearfar report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar.cli.form import Form, Result, argument
from nearfar.options import option


@dataclass(frozen=True, kw_only=True)
class Report(Form):
    """Write the page of a run, or one page that compares several runs.

    It is made from what the run folders hold. A run that was stopped before its evaluation gets one now.
    """

    run: tuple[str, ...] = argument("Folders of runs.", needed=True, many=True, path="input")
    out: str | None = option(
        None,
        "File of the page; when not given, report.html in the run's folder, or comparison.html here.",
        short="-o",
        path="output",
    )

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Write the page."""
        page = api.report(*self.run, **given)
        said = [page.verdict] if len(self.run) > 1 else []
        return {"page": page.path, "verdict": page.verdict}, "\n".join([*said, str(page.path)])

    def outputs(self) -> list[str]:
        """Where it writes."""
        if self.out is not None:
            return [self.out]
        return [run for run in self.run if Path(run).is_dir()] if len(self.run) == 1 else ["."]
