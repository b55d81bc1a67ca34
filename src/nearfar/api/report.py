"""Make a run's page anew."""

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


def report(*runs: str | os.PathLike[str]) -> list[Path]:
    """Write `report.html` of each run folder again, from what was evaluated and from its data; returns the pages.

    A run that was stopped before its evaluation, or trained on since, gets one now. Raises UserError, before any work
    where one of them is no run.
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
    from nearfar.api import options
    from nearfar.api.finish import finish
    from nearfar.api.page import write_page
    from nearfar.api.prepare import assemble, prepare
    from nearfar.training import checkpoint
    from nearfar.training.run_folder import CONFIG, RunFolder
    from nearfar.training.state import restore

    folder = RunFolder(path)
    with folder.locked():
        saved = checkpoint.latest(path / "checkpoint")
        if saved is None:
            raise RunError(f"The run in {str(path)!r} has saved nothing yet; let it train for a while.")
        ready = prepare(assemble(options.from_file(path / CONFIG)), run=path, fresh=False)
        state = restore(ready.plan, saved)
        found = _evaluated(path, ready, state.step)
        if found is None:
            finish(ready, folder, state)
        else:
            write_page(ready, folder, state, *found)
    return path / "report.html"


def _evaluated(path: Path, ready: "Ready", step: int) -> "tuple[Evaluation, Source, Tensor] | None":
    """The evaluation after this step, the samples that were embedded, and their vectors; None where there is none."""
    import numpy as np
    import torch

    from nearfar.api.finish import EMBEDDINGS, EVALUATION
    from nearfar.data.embeddings import Embeddings
    from nearfar.evaluation.result import Evaluation

    try:
        found = Evaluation.from_json(read_json(path / EVALUATION))
        embedded = Embeddings.load(path / EMBEDDINGS)
    except (DataError, OSError, ValueError, AttributeError):
        return None
    shown = ready.source.shown
    rows = {key: row for row, key in enumerate(shown.keys)}
    if found.steps != step or not all(key in rows for key in embedded.keys):
        return None
    source = shown.take(np.array([rows[key] for key in embedded.keys], dtype=np.int64))
    return found, source, torch.from_numpy(embedded.vectors)
