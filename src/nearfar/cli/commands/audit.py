"""`nearfar audit`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar.cli.form import (
    RUN,
    Form,
    Result,
    argument,
    cache_option,
    device_option,
    label_column_option,
    threads_option,
)
from nearfar.cli.output import columns
from nearfar.options import option


@dataclass(frozen=True, kw_only=True)
class Audit(Form):
    """What may be wrong with data, by an encoder: copies, leaks across splits, foreign samples, labels, classes.

    Ranked lists as csv, and a page with the samples side by side; nothing is deleted.
    """

    run: str = argument(RUN, needed=True, path="input")
    data: str = argument("What is looked at: all that nearfar train takes.", needed=True, path="data")
    out: str | None = option(
        None, "Folder of the lists and the page; when not given, audit in the run's folder.", short="-o", path="output"
    )
    drop: str | None = option(
        None,
        "Write cleaned.csv without what is flagged as one of these, with commas between: leaks, duplicates, outliers, "
        "labels, defects, unreadable.",
        local=True,
    )
    label_column: str | None = label_column_option()
    seed: int = option(0, "Key of the folds.", least=0)
    cache: str = cache_option()
    device: str | None = device_option()
    threads: int | None = threads_option()

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Audit."""
        drop = [kind.strip() for kind in (self.drop or "").split(",") if kind.strip()]
        found = api.audit(self.run, self.data, drop=drop, **given)
        lines = [(one.title, f"{one.flagged} flagged", f"{one.name}.csv") for one in found.rankings]
        others = ("classes", found.confusable), ("clusters", found.clusters), ("defects", found.defects)
        lines += [(name.capitalize(), f"{len(some)} found", f"{name}.csv") for name, some in others]
        lines.append(("Unreadable", f"{len(found.skipped)} left out", "unreadable.csv"))
        text = [columns(lines), *found.notes]
        if found.cleaned is not None:
            text.append(f"cleaned {found.cleaned}: {found.dropped} samples are left out (dropped.csv says why)")
        text.append(f"page    {found.path / 'audit.html'}")
        counts = {one.name: {"flagged": one.flagged, "ranked": len(one)} for one in found.rankings}
        more = {name: len(some) for name, some in others} | {"unreadable": len(found.skipped), "notes": found.notes}
        page = found.path / "audit.html"
        return {
            "run": self.run,
            "out": found.path,
            "page": page,
            "cleaned": found.cleaned,
            **counts,
            **more,
        }, "\n".join(text)

    def outputs(self) -> list[str]:
        """Where it writes."""
        return [self.out or (str(Path(self.run) / "audit") if Path(self.run).is_dir() else "audit")]
