"""What a person sees while a run goes on: a live bar in a terminal or notebook, plain lines elsewhere."""

import logging
import time
from typing import TYPE_CHECKING, Any

from nearfar import progress
from nearfar.training.alarms import Alarm

if TYPE_CHECKING:
    from rich.progress import Progress

_log = logging.getLogger("nearfar")
_LINE_EVERY = 10.0  # seconds between two lines where no bar is seen
_BAR_WIDTH = 58
"""Columns of a terminal that the bar takes with its percentage and times, which stay where there is no more room."""
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

    def __init__(self, *, quiet: bool = False, what: str = "train") -> None:
        self.quiet = quiet
        self._what = what
        self._bar: Progress | None = None
        self._last: float | None = None
        self._seen: dict[str, Any] = {}

    def __enter__(self) -> "Display":
        if not self.quiet and progress.live():
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
            self._bar.add_task(self._what, total=1.0, left="", figures="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def advance(self, done: float, remaining: float | None) -> None:
        """Move the bar to the share that is done; cheap enough for every step."""
        if self._bar is not None:
            left = "" if remaining is None else f"{_clock(remaining)} left"
            self._bar.update(self._bar.task_ids[0], completed=done, left=left)

    def show(self, done: float, record: dict[str, Any], remaining: float | None) -> None:
        """Show a record of metrics.jsonl: its figures beside the bar, or now and then as a line."""
        self._seen.update(record)
        figures = [form.format(self._seen[name]) for name, form in _SHOWN.items() if name in self._seen]
        if self._bar is not None:
            room = self._bar.console.width - _BAR_WIDTH
            while figures and len(_joined(figures)) > room:
                figures.pop()
            self._bar.update(self._bar.task_ids[0], figures=_joined(figures))
            return
        now = time.monotonic()
        if not self.quiet and (self._last is None or now - self._last >= _LINE_EVERY or done >= 1):
            self._last = now
            left = f" · {_clock(remaining)} left" if remaining else ""
            _log.info("step %s · %3.0f%% · %s%s", record["step"], 100 * done, _joined(figures), left)

    def alarm(self, alarm: Alarm) -> None:
        """Say what looks wrong, and what to change."""
        self.say(f"step {alarm.step}: {alarm.sentence}", logging.WARNING)

    def say(self, text: str, level: int = logging.INFO) -> None:
        """Write a line of the log."""
        if self._bar is not None:
            self._bar.stop()  # a line written into a moving bar would be torn
        _log.log(level, "%s", text)
        if self._bar is not None:
            self._bar.start()


def _joined(figures: list[str]) -> str:
    return " · ".join(figures)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
