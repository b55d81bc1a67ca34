"""`nearfar demo`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar.cli import STARTED
from nearfar.cli.form import Form, Result, device_option, threads_option
from nearfar.cli.judged import of_run
from nearfar.options import option


@dataclass(frozen=True, kw_only=True)
class Demo(Form):
    """Train on the built-in digits, evaluate, and write the report page; needs no network."""

    trains = True

    out: str | None = option(
        None, "Folder of the run; when not given, one below runs/.", short="-o", path="output", basic=True
    )
    seed: int = option(0, "Key of all randomness.", least=0)
    device: str | None = device_option()
    threads: int | None = threads_option(local=False)

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Train on digits."""
        return of_run(api.demo(started=STARTED, quiet=self.quiet, **given))

    def outputs(self) -> list[str]:
        """Where it writes."""
        return [self.out or str(Path("runs").absolute())]
