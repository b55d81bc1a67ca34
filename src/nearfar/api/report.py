"""The page of a run, made from what its folder holds."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nearfar.errors import ConfigError, DataError, RunError
from nearfar.files import check_writable, read_json

if TYPE_CHECKING:
    from torch import Tensor

    from nearfar.api.prepare import Ready
    from nearfar.contract import Source
    from nearfar.evaluation.result import Evaluation
    from nearfar.reporting.kept import Kept
    from nearfar.training.run_folder import RunFolder


def report(*runs: str | os.PathLike[str]) -> list[Path]:
    """Write `report.html` of each run folder again, from what the folder holds; returns the pages.

    Neither the data nor the encoder is opened, but for a run of an earlier version, one that was stopped before its
    evaluation, and one that was trained on since. Raises UserError, before any work where one of them is no run.
    """
    from nearfar.training.run_folder import CONFIG

    if not runs:
        raise ConfigError("Name at least one run folder to report on.")
    for run in runs:
        if not (Path(run) / CONFIG).is_file():
            raise RunError(f"There is no run in {os.fspath(run)!r}.")
        check_writable(Path(run) / "report.html")
    return [_one(Path(run)) for run in runs]


def _one(path: Path) -> Path:
    from nearfar.api.page import write_page
    from nearfar.training.run_folder import RunFolder

    folder = RunFolder(path)
    page = path / "report.html"
    found = _as_kept(folder)
    if found is None:
        _made_anew(folder, page)
    else:
        write_page(page, folder, *found)
    return page


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


def _made_anew(folder: "RunFolder", page: Path) -> None:
    """Make the page by the encoder from the data, and keep what it shows; the run is judged where it was not."""
    from nearfar.api import options
    from nearfar.api.finish import finish
    from nearfar.api.page import costs_of, keep, write_page
    from nearfar.api.prepare import assemble, prepare
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
        if found is None:
            finish(ready, folder, state, trained=False)
        else:
            evaluation, source, vectors = found
            costs = costs_of(ready, state, trained=False)
            write_page(page, folder, evaluation, keep(ready, folder, state, source, vectors, costs))


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
