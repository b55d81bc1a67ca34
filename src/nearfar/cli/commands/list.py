"""`nearfar list`."""

from dataclasses import dataclass
from typing import Any

from nearfar.cli.form import Form, Result, argument
from nearfar.cli.listing import KINDS, names
from nearfar.cli.output import columns


@dataclass(frozen=True, kw_only=True)
class List(Form):
    """Names of what there is, and a line about each."""

    torch = False

    what: str = argument(f"One of {', '.join(KINDS)}.", needed=True)

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Look them up."""
        found = names(self.what)
        return {"what": self.what, "names": found}, columns(found.items())
