"""`nearfar export`."""

from dataclasses import dataclass
from typing import Any

from nearfar.cli.form import RUN, Form, Result, argument
from nearfar.exporting.registry import TARGETS
from nearfar.options import automatic


@dataclass(frozen=True, kw_only=True)
class Export(Form):
    """Write an encoder in the form of another library, with the same vectors."""

    run: str = argument(RUN, needed=True, path="input")
    to: str = automatic(f"The form: {', '.join(TARGETS)}.", needed=True, local=True)
    out: str = automatic("Folder that is written; new or empty.", short="-o", path="output", needed=True, local=True)

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Export."""
        folder = api.export(self.run, self.to, self.out)
        return {"run": self.run, "to": self.to, "out": folder}, f"{self.to}: {folder}"

    def outputs(self) -> list[str]:
        """Where it writes."""
        return [self.out]
