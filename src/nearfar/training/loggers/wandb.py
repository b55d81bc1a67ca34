"""Weights & Biases: a run of the project "nearfar"; WANDB_PROJECT, WANDB_MODE=offline and the like are heeded."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Wandb:
    """A run with the name of the folder; its files lie in `RUN/wandb`."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "nearfar"),
            name=folder.name,
            group=folder.name,  # a run that goes on is another one of its group
            dir=str(folder),
            config=dict(settings),
        )

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures after this step."""
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()


open_run = Wandb
