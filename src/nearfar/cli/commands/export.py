"""`nearfar export`."""

from dataclasses import dataclass
from typing import Any

from nearfar.cli.form import RUN, Form, Result, argument
from nearfar.exporting.registry import NONE, PARTS, PREPROCESSING, TARGETS, WHITENING, check_parts
from nearfar.options import automatic, listed, option


@dataclass(frozen=True, kw_only=True)
class Export(Form):
    """Write an encoder in the form of another library, with a model card; its vectors are compared with its own."""

    run: str = argument(RUN, needed=True, path="input")
    to: str = automatic(f"The form: {', '.join(TARGETS)}.", needed=True, local=True)
    out: str = automatic("Folder that is written; new or empty.", short="-o", path="output", needed=True, local=True)

    inside: str | None = option(
        None,
        f"What goes inside, with commas between: {', '.join(f'{name} ({line})' for name, line in PARTS.items())}, or "
        f"{NONE}; when not given, {WHITENING} where the encoder has one. {PREPROCESSING.capitalize()} goes into "
        f"{' and '.join(name for name, one in TARGETS.items() if PREPROCESSING in one.holds)}.",
        spelled="with",
        local=True,
    )

    def check(self) -> None:
        """The form holds what is to go inside."""
        if self.to is not None:
            check_parts(self.to, listed(self.inside))

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Export."""
        inside = None if self.inside is None else listed(self.inside)
        made = api.export(self.run, self.to, self.out, inside=inside)
        text = "\n".join([f"{self.to}: {made.path}", f"vectors: {made.vectors}", *made.notes])
        found = {"run": self.run, "to": self.to, "out": made.path, "inside": made.inside, "notes": made.notes}
        return found, text

    def outputs(self) -> list[str]:
        """Where it writes."""
        return [self.out]
