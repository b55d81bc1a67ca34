"""`nearfar finetune`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nearfar.cli import STARTED
from nearfar.cli.form import DATA, RUN, Form, Result, argument
from nearfar.cli.judged import of_run
from nearfar.downstream.registry import DOWNSTREAM, known
from nearfar.errors import ConfigError
from nearfar.options import option


@dataclass(frozen=True, kw_only=True)
class Finetune(Form):
    """Fine-tune the encoder of a run, or a published one, on labels or masks; the result is a run of its own.

    The table says what it gains on training from scratch and on a linear probe, with each amount of labels.
    `nearfar predict` then names the classes of any data, or writes its masks.
    """

    of_a_run = True
    says = frozenset({"method", "encoder", "label_draw", "frozen", "classes"})

    run: str | None = argument(RUN, path="input")
    data: str | None = argument(DATA, path="data")
    task: str = option(
        "classify", "What for: " + "; ".join(f"{name}, {line}" for name, line in DOWNSTREAM.items()) + ".", basic=True
    )
    how: Literal["full", "probe"] = option("full", "What learns: all of the encoder, or the head alone.", basic=True)
    labels: str = option(
        "100%",
        "Amounts of labels, parted by commas: shares (`1%,10%,100%`), or numbers of each class (`1,5`).",
        basic=True,
    )
    draws: int = option(5, "How often fewer labels than all are drawn.", least=2, basic=True)
    compare: bool = option(True, "Compare it.", off="Only fine-tune: no training from scratch, no linear probe.")
    out: str | None = option(
        None, "Folder of the new run; when not given, one below runs/.", short="-o", path="output", basic=True
    )
    resume: bool = option(False, "Go on with what was begun in --out, without RUN, DATA and options.", basic=True)

    @classmethod
    def method_of(cls, typed: Mapping[str, Any]) -> str | None:
        """That of the task, which has its name."""
        return known(str(typed.get("task", "classify")))

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Fine-tune."""
        if not self.resume and (self.run is None or self.data is None):
            raise ConfigError("nearfar finetune needs RUN and DATA (nearfar finetune --help).")
        return of_run(api.finetune(self.run, self.data, started=STARTED, quiet=self.quiet, **given))

    def outputs(self) -> list[str]:
        """Where it writes."""
        return [self.out or str(Path("runs").absolute())]
