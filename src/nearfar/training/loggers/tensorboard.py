"""TensorBoard: event files in the run's folder, `tensorboard --logdir RUN`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoard:
    """Writes into `RUN/tensorboard`."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What was written after the step that a run goes on from is made again.
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
        if not step:
            lines = [f"| {name} | {str(value).replace('|', '/')} |" for name, value in settings.items()]
            self._writer.add_text("settings", "\n".join(["| setting | value |", "|---|---|", *lines]))

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures after this step."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


open_run = TensorBoard
