"""Ctrl-C and SIGTERM set a flag, which the loop looks at between two steps."""

import signal
import threading
import time
from types import FrameType
from typing import Any

_SAME = 1.0  # seconds in which several signals count as one: launchers forward what the terminal has sent already


class Interrupt:
    """Use as a context: `asked` becomes true at the first signal; another, a second or more later, stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self._first = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that was not set from Python, which Python cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.asked and now - self._first >= _SAME:
            raise KeyboardInterrupt
        self._first = self._first if self.asked else now
        self.asked = True
