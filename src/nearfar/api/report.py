"""Make a run's page anew."""

import os
from pathlib import Path

from nearfar.errors import ConfigError, RunError
from nearfar.files import check_writable


def report(*runs: str | os.PathLike[str]) -> list[Path]:
    """Write `report.html` of each run folder again, from its encoder and its data; returns the pages.

    A run that was stopped before its evaluation gets one now. Raises UserError, before any work where one of them is
    no run.
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
    from nearfar.api.prepare import assemble, prepare
    from nearfar.training import checkpoint
    from nearfar.training.run_folder import CONFIG, RunFolder
    from nearfar.training.state import restore

    folder = RunFolder(path)
    with folder.locked():
        saved = checkpoint.latest(path / "checkpoint")
        if saved is None:
            raise RunError(f"The run in {str(path)!r} has saved nothing yet; let it train for a while.")
        ready = prepare(assemble(options.from_file(path / CONFIG)), fresh=False)
        finish(ready, folder, restore(ready.plan, saved))
    return path / "report.html"
