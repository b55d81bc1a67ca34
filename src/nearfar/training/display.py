"""What a person sees while a run goes on: a live bar in a terminal or notebook, plain lines elsewhere."""

import logging
import sys
import time
from typing import TYPE_CHECKING, Any

from nearfar.training.health import Alarm

if TYPE_CHECKING:
    from rich.progress import Progress

_log = logging.getLogger("nearfar")
_SHOWN = {
    "loss": "loss {:.3f}",
    "view_retrieval": "views found {:.0%}",
    "effective_rank": "rank {:.0f}",
    "knn": "kNN {:.1%}",
    "samples_per_second": "{:.0f}/s",
    "data_wait": "data wait {:.0%}",
}


class Display:
    """Use as a context; `show` each record, `alarm` what looks wrong."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar: Progress | None = None
        self._last = 0.0
        self._seen: dict[str, Any] = {}

    def __enter__(self) -> "Display":
        if not self.quiet and _live():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                TextColumn("{task.fields[figures]}"),
                console=Console(stderr=True),
                refresh_per_second=4,
            )
            self._bar.add_task("train", total=1.0, left="", figures="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def advance(self, progress: float, remaining: float | None) -> None:
        """Move the bar; cheap enough for every step."""
        if self._bar is not None:
            left = "" if remaining is None else f"{_clock(remaining)} left"
            self._bar.update(self._bar.task_ids[0], completed=progress, left=left)

    def show(self, progress: float, record: dict[str, Any], remaining: float | None) -> None:
        """Show a record of metrics.jsonl."""
        self._seen.update(record)
        figures = " · ".join(form.format(self._seen[name]) for name, form in _SHOWN.items() if name in self._seen)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=progress, figures=figures)
            return
        now = time.monotonic()
        if not self.quiet and (now - self._last >= 10 or progress >= 1):
            self._last = now
            left = "" if remaining is None else f" · {_clock(remaining)} left"
            _log.info("step %s · %3.0f%% · %s%s", record["step"], 100 * progress, figures, left)

    def alarm(self, alarm: Alarm) -> None:
        """Say what looks wrong, and what to change."""
        _log.warning("step %d: %s", alarm.step, alarm.sentence)


def _live() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
