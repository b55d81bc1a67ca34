"""`nearfar tune`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar.cli import STARTED
from nearfar.cli.form import DATA, Form, Result, argument
from nearfar.cli.output import columns
from nearfar.errors import ConfigError
from nearfar.options import option


@dataclass(frozen=True, kw_only=True)
class Tune(Form):
    """Try settings by short trainings, and say which to take and how much each matters.

    What is given stays as it is. The best settings are trained again beside the defaults on fresh seeds; config.toml
    holds them where they are ahead by more than chance, and the defaults else: nearfar train DATA --config.
    """

    of_a_run = True
    says = frozenset({"budget"})

    data: str | None = argument(DATA, path="data")
    time: str | None = option(None, "How long in all, such as 10m or 2h (30m when nothing is given).", basic=True)
    trials: int | None = option(None, "How many trials, the defaults among them.", least=2, basic=True)
    over: str | None = option(
        None, "Settings to try, parted by commas, such as `temperature,method`; all that suit when not given.",
        basic=True, listed=True,
    )  # fmt: skip
    methods: str | None = option(
        None, "Methods to try, parted by commas; the usual ones when not given.", basic=True, listed=True
    )
    seeds: int = option(3, "Fresh seeds on which the best settings meet the defaults.", least=2, basic=True)
    out: str | None = option(
        None,
        "Folder of what comes of it; when not given, a new one below runs/.",
        short="-o",
        path="output",
        basic=True,
    )
    resume: bool = option(False, "Go on with the tuning in --out, without DATA and options.", basic=True)
    init: str | None = option(None, "Start each training from the encoder of this run's folder.", path="input")
    config: str | None = option(None, "Take settings from this config.toml; they stay.", path="input")

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Tune."""
        if self.data is None and not self.resume and self.config is None:
            raise ConfigError("nearfar tune needs DATA: a folder, a manifest, tar shards, an array, or `digits`.")
        found = api.tune(self.data, started=STARTED, quiet=self.quiet, **given)
        text = [columns(found.facts), "", columns(found.table), "", found.advice]
        text += [f"settings {found.config}", f"page     {found.page}"]
        gain = found.gain
        return {
            "out": found.path,
            "advice": found.advice,
            "recommended": found.recommended,
            "best": found.best,
            "gain": None if gain is None else {"mean": gain.mean, "low": gain.low, "high": gain.high},
            "judge": found.judge,
            "defaults": found.usual,
            "matters": found.matters,
            "trials": found.trials,
            "config": found.config,
            "page": found.page,
        }, "\n".join(text)

    def outputs(self) -> list[str]:
        """Where it writes."""
        return [self.out or str(Path("runs").absolute())]
