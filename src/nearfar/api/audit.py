"""Audit data by an encoder: ranked lists of what may be wrong with it, as csv and as a page."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfar.errors import ConfigError, DataError, UnknownName

if TYPE_CHECKING:
    from nearfar.api.audited import Audited
    from nearfar.contract import Encoder, Skipped
    from nearfar.inspection.audit.ranking import Note, Ranking

KINDS = ("leaks", "duplicates", "outliers", "labels", "defects", "unreadable")
"""Kinds of errors that samples can be dropped for."""
PAGE, CLEANED, DROPPED = "audit.html", "cleaned.csv", "dropped.csv"
_log = logging.getLogger("nearfar")


@dataclass(frozen=True)
class Audit:
    """What an audit found: samples ranked by kind of error, and notes about classes, clusters and columns."""

    path: Path
    """The folder that holds the lists and the page."""
    samples: int
    rankings: "list[Ranking]"
    confusable: "list[Note]" = field(default_factory=list)
    clusters: "list[Note]" = field(default_factory=list)
    defects: "list[Skipped]" = field(default_factory=list)
    skipped: "list[Skipped]" = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was not looked at, and why."""
    cleaned: Path | None = None
    dropped: int = 0

    def __getitem__(self, kind: str) -> "Ranking":
        """The ranking of a kind; raises UnknownName."""
        for one in self.rankings:
            if one.name == kind:
                return one
        raise UnknownName("kind of error", kind, [one.name for one in self.rankings])


def audit(
    encoder: "Encoder | str | os.PathLike[str]",
    data: Any,
    *,
    out: str | os.PathLike[str] | None = None,
    drop: Sequence[str] = (),
    seed: int = 0,
    device: str | None = None,
    cache: str = "auto",
    label_column: str | None = None,
) -> Audit:
    """Copies, leaks across splits, foreign samples, labels that may be wrong, confusable classes, hidden clusters.

    `encoder` is an encoder or a run folder, `data` as `nearfar.train` takes it; where it has a train and a test part,
    both are looked at, and copies across them are leaks. Writes a csv for each kind, and audit.html, into the folder
    `out` (by default `audit` in the run folder, else here). With `drop`, some of `KINDS`, cleaned.csv
    names what is left, as data that `nearfar.train` takes; nothing is deleted. Raises UserError.
    """
    from nearfar.api.audited import open_parts
    from nearfar.api.load import load_on

    for kind in drop:
        if kind not in KINDS:
            raise UnknownName("kind of error", kind, KINDS)
    encoder, run = load_on(encoder, device)
    folder = Path(out) if out is not None else (run or Path()) / "audit"
    found = open_parts(encoder, data, cache=cache, label_column=label_column)
    if drop:
        found.check_manifest()
    return _write(_examined(found, folder, seed), found, drop)


def _examined(found: "Audited", folder: Path, seed: int) -> Audit:
    """All rankings and notes of embedded samples."""
    from nearfar.evaluation.copies import LIMIT
    from nearfar.inspection.audit import clusters, labels, outliers
    from nearfar.inspection.audit.duplicates import duplicates
    from nearfar.inspection.audit.neighbours import neighbours

    vectors, ids, parts = found.embed()
    if len(vectors) < 2:
        raise DataError(f"{found.name!r} has fewer than two samples that can be read: there is nothing to compare.")
    near, numbers, names = neighbours(vectors), found.labels, found.label_names
    content = found.content(LIMIT)
    measures = [near] if content is None else [near, neighbours(content)]
    within, across = duplicates(measures, ids, parts, max(len(names), 1))
    made = Audit(folder, len(vectors), [across] if len(found.sources) > 1 else [], skipped=found.skipped)
    made.rankings.extend([within, outliers.outliers(near, vectors, numbers)])
    if numbers is None or len(np.unique(numbers[numbers >= 0])) < 2:
        made.notes.append("There are no labels of two classes: labels and confusable classes were not looked at.")
    else:
        rare = np.flatnonzero(np.bincount(numbers[numbers >= 0], minlength=len(names)) == 1)
        if len(rare):
            one = f"class {names[rare[0]]!r}" + (f" and {len(rare) - 1} more" if len(rare) > 1 else "")
            made.notes.append(f"Classes of one sample cannot be judged by others: {one}.")
        given = labels.probabilities(vectors, near, numbers, len(names), seed)
        judged = np.where(np.isin(numbers, rare), -1, numbers)
        made.rankings.append(labels.wrong_labels(given, judged))
        made.confusable.extend(labels.confusable(given, judged, names, made["labels"].samples))
    made.clusters.extend(clusters.hidden_clusters(vectors, numbers, names, seed))
    made.defects.extend(found.defects())
    return made


def _write(made: Audit, found: "Audited", drop: Sequence[str]) -> Audit:
    """The lists, the page and the cleaned manifest."""
    from dataclasses import replace

    from nearfar.api.audited import write_rows
    from nearfar.data.skipped import write_skipped
    from nearfar.files import check_writable
    from nearfar.reporting import audit_page

    made.path.mkdir(parents=True, exist_ok=True)
    check_writable(made.path / PAGE)
    for ranking in made.rankings:
        write_rows(made.path / f"{ranking.name}.csv", *found.lines(ranking))
    for name, notes in (("classes", made.confusable), ("clusters", made.clusters)):
        lines = [[one.about, one.found, f"{one.score:.4f}", *(found.key(row) for row in one.rows)] for one in notes]
        write_rows(made.path / f"{name}.csv", ["about", "found", "score", "example", "second_example"], lines)
    write_skipped(made.path / "defects.csv", made.defects)
    write_skipped(made.path / "unreadable.csv", made.skipped)
    if drop:
        reasons = _reasons(made, found, drop)
        found.write_cleaned(made.path / CLEANED, set(reasons))
        lines = [[found.key(row), ", ".join(why)] for row, why in sorted(reasons.items())]
        lines += [[one.key, "unreadable"] for one in made.skipped]  # they are in no list of samples
        write_rows(made.path / DROPPED, ["key", "reasons"], lines)
        made = replace(made, cleaned=made.path / CLEANED, dropped=len(lines))
    audit_page.write(
        made.path / PAGE,
        title=found.name,
        facts={"Data": found.name, "Samples": f"{made.samples:,}", "Encoder": found.encoder_name},
        rankings=made.rankings,
        sections={"Classes taken for each other": made.confusable, "Hidden clusters": made.clusters},
        defects=made.defects,
        skipped=made.skipped,
        notes=made.notes,
        card=found.card,
        names=found.label_names,
    )
    _log.info("wrote %s", made.path / PAGE)
    return made


def _reasons(made: Audit, found: "Audited", drop: Sequence[str]) -> dict[int, list[str]]:
    """The samples to drop, and what for."""
    reasons: dict[int, list[str]] = {}
    chosen: Callable[[str], bool] = set(drop).__contains__
    for ranking in made.rankings:
        for row in ranking.samples.tolist() if chosen(ranking.name) else ():
            reasons.setdefault(row, []).append(ranking.name)
    for row in found.rows_of({one.key for one in made.defects}) if chosen("defects") else ():
        reasons.setdefault(row, []).append("defects")
    if len(reasons) >= made.samples:
        raise ConfigError("Dropping all of these would leave nothing: name fewer kinds.")
    return reasons
