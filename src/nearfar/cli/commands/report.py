"""`nearfar report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar.cli.form import Form, Result, argument


@dataclass(frozen=True, kw_only=True)
class Report(Form):
    """Write report.html of each run anew, from what its folder holds.

    A run that was stopped before its evaluation gets one now.
    """

    run: tuple[str, ...] = argument("Folders of runs.", needed=True, many=True, path="input")

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Write the pages."""
        pages = api.report(*self.run)
        return {"pages": pages}, "\n".join(map(str, pages))

    def outputs(self) -> list[str]:
        """Where it writes."""
        return [run for run in self.run if Path(run).is_dir()]
