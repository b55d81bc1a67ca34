"""`nearfar train`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar.cli import STARTED
from nearfar.cli.form import DATA, Form, Result, argument
from nearfar.cli.judged import of_run
from nearfar.config import NAMED
from nearfar.errors import ConfigError
from nearfar.options import option


@dataclass(frozen=True, kw_only=True)
class Train(Form):
    """Learn an encoder from unlabelled data.

    What is not given is chosen for the data and the machine, and written to the run's config.toml.
    """

    trains = of_a_run = True

    data: str | None = argument(DATA, path="data")
    out: str | None = option(
        None, "Folder of the run; when not given, a new one below runs/.", short="-o", path="output", basic=True
    )
    resume: bool = option(
        False,
        "Go on with the run in --out, without DATA and options; with a larger length, for longer.",
        basic=True,
    )
    init: str | None = option(None, "Start from the encoder of this run's folder.", path="input")
    config: str | None = option(
        None,
        f"Take settings from this config.toml, or those of a name: {', '.join(NAMED)}; options given here come first.",
        path="input",
    )
    evaluate: bool = option(
        True, "Evaluate the encoder at the end.", off="End after the last step, without evaluation."
    )

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Train."""
        if self.resume and self.out is None:
            raise ConfigError("--resume goes on with the run in --out DIR: give --out.")
        if self.data is None and not self.resume and self.config is None:
            raise ConfigError("nearfar train needs DATA: a folder, a manifest, tar shards, an array, or `digits`.")
        return of_run(api.train(self.data, started=STARTED, quiet=self.quiet, **given))

    def outputs(self) -> list[str]:
        """Where it writes."""
        return [self.out or str(Path("runs").absolute())]
