"""Trackio: a run of the project "nearfar", kept on this machine; `trackio show` opens its dashboard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Trackio:
    """A run with the name of the folder."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        import trackio

        self._run = trackio.init(project="nearfar", name=folder.name, config=dict(settings), resume="allow")

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures after this step."""
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()


open_run = Trackio
