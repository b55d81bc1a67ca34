"""The page of a run, or of several compared, made from what their folders hold."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nearfar.errors import ConfigError, DataError, OutputError, RunError
from nearfar.files import check_writable, read_json

if TYPE_CHECKING:
    from torch import Tensor

    from nearfar.api.prepare import Ready
    from nearfar.contract import Source
    from nearfar.evaluation.result import Evaluation
    from nearfar.reporting.comparison_page import Compared
    from nearfar.reporting.kept import Kept
    from nearfar.training.run_folder import RunFolder

PAGE, COMPARISON = "report.html", "comparison.html"
_OURS = b"Made by nearfar"


@dataclass(frozen=True)
class Page:
    """A page that was written: where it is, and what it says first, in sentences."""

    path: Path
    verdict: str


def report(*runs: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Page:
    """Write the page of a run, or of several runs one page that compares them.

    Without `out` that of one run is its `report.html`, and that of several `comparison.html` in the current folder.
    Both are made from what the run folders hold. Neither data nor encoder is opened, but for a run of an earlier
    version, one that was stopped before its evaluation, and one that was trained on since. A file that is no page of
    nearfar is never replaced. Raises UserError, before any work where one of the folders is no run.
    """
    from nearfar.api.page import write_page
    from nearfar.reporting import comparison_page
    from nearfar.training.run_folder import CONFIG, RunFolder

    if not runs:
        raise ConfigError("Name at least one run folder to report on.")
    for run in runs:
        if not (Path(run) / CONFIG).is_file():
            raise RunError(f"There is no run in {os.fspath(run)!r}.")
    folders = [RunFolder(run) for run in dict.fromkeys(Path(run).resolve() for run in runs)]
    if len(folders) < len(runs):
        raise ConfigError("A run is named twice: name each run once.")
    page = Path(out) if out is not None else Path(runs[0]) / PAGE if len(runs) == 1 else Path(COMPARISON)
    if page.is_dir():
        raise ConfigError(f"--out must be a file, and {str(page)!r} is a folder.")
    check_writable(page)
    _check_ours(page)
    if len(folders) > 1:
        compared = [_compared(*named) for named in zip(folders, _names(folders), strict=True)]
        return Page(page, str(comparison_page.write(page, compared)))
    found = _as_kept(folders[0]) or _made_anew(folders[0])
    write_page(page, folders[0], *found)
    return Page(page, str(found[0].verdict()))


def _compared(folder: "RunFolder", name: str) -> "Compared":
    from nearfar.evaluation import per_sample
    from nearfar.evaluation.comparison import Judged
    from nearfar.reporting import kept
    from nearfar.reporting.comparison_page import Compared
    from nearfar.reporting.kept import Costs
    from nearfar.training import checkpoint

    found = _evaluation(folder.path)
    last = checkpoint.last_step(folder.path / "checkpoint")
    if found is None or (last is not None and found.steps != last):
        found, _ = _made_anew(folder)
    metrics = folder.metrics()
    try:
        costs = kept.load(folder.path).costs
    except DataError:  # of an earlier version
        costs = Costs(seconds=metrics[-1].get("seconds") if metrics else None, steps=found.steps, epochs=found.epochs)
    return Compared(
        judged=Judged(name, found, per_sample.load(folder.path, found)),
        costs=costs,
        metrics=metrics,
        config=folder.read_config(),
        environment=folder.environment(),
    )


def _names(folders: "list[RunFolder]") -> list[str]:
    """The folders' names, with as many of the folders above as tell them apart."""
    paths = [folder.path.parts for folder in folders]
    for length in range(1, max(map(len, paths))):
        names = ["/".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [str(folder.path) for folder in folders]


def _check_ours(page: Path) -> None:
    """Raise OutputError where something else than a page of nearfar would be replaced."""
    if page.is_file() and _OURS not in page.read_bytes():
        raise OutputError(f"{str(page)!r} is there, and is no page of nearfar: give another file with --out.")


def _as_kept(folder: "RunFolder") -> "tuple[Evaluation, Kept] | None":
    """What the folder holds for the page; None where that is not all, or older than the last checkpoint."""
    from nearfar.reporting import kept
    from nearfar.training import checkpoint

    found = _evaluation(folder.path)
    try:
        run = kept.load(folder.path)
    except DataError:
        return None
    last = checkpoint.last_step(folder.path / "checkpoint")
    return None if found is None or not found.steps == run.step == (last or run.step) else (found, run)


def _made_anew(folder: "RunFolder") -> "tuple[Evaluation, Kept]":
    """Make by the encoder from the data what the page shows, and keep it; the run is judged where it was not."""
    from nearfar.api import options
    from nearfar.api.finish import finish
    from nearfar.api.page import costs_of, keep
    from nearfar.api.prepare import assemble, prepare
    from nearfar.reporting import kept
    from nearfar.training import checkpoint
    from nearfar.training.run_folder import CONFIG
    from nearfar.training.state import restore

    path = folder.path
    with folder.locked():
        saved = checkpoint.latest(path / "checkpoint")
        if saved is None:
            raise RunError(f"The run in {str(path)!r} has saved nothing yet; let it train for a while.")
        ready = prepare(assemble(options.from_file(path / CONFIG)), run=path, fresh=False)
        state = restore(ready.plan, saved)
        found = _evaluated(path, ready, state.step)
        if found is not None:
            evaluation, source, vectors = found
            return evaluation, keep(ready, folder, state, source, vectors, costs_of(ready, state, trained=False))
        judged = finish(ready, folder, state, trained=False).evaluation
        assert judged is not None
        return judged, kept.load(path)


def _evaluation(path: Path) -> "Evaluation | None":
    from nearfar.api.finish import EVALUATION
    from nearfar.evaluation.result import Evaluation

    try:
        return Evaluation.from_json(read_json(path / EVALUATION))
    except (DataError, OSError, ValueError, AttributeError):
        return None


def _evaluated(path: Path, ready: "Ready", step: int) -> "tuple[Evaluation, Source, Tensor] | None":
    """The evaluation after this step, the samples that were embedded, and their vectors; None where there is none."""
    import numpy as np
    import torch

    from nearfar.api.finish import EMBEDDINGS
    from nearfar.data.embeddings import Embeddings

    found = _evaluation(path)
    try:
        embedded = Embeddings.load(path / EMBEDDINGS)
    except (DataError, OSError, ValueError, AttributeError):
        return None
    shown = ready.source.shown
    rows = {key: row for row, key in enumerate(shown.keys)}
    if found is None or found.steps != step or not all(key in rows for key in embedded.keys):
        return None
    source = shown.take(np.array([rows[key] for key in embedded.keys], dtype=np.int64))
    return found, source, torch.from_numpy(embedded.vectors)
