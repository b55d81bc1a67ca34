"""How many threads torch computes with: found by trying, for other work may take the processor.

Threads wait for each other many times in a step. Where one of them does not get its core, two are slower than one.
"""

import math
import statistics
import time
from collections.abc import Callable

import torch

from nearfar.threads import waited_for_core

_WORTH = 1.1  # fewer threads, or more, must be so much faster to be taken
_CROWDED = 0.1  # share of the time that the thread of the steps waits for a core: reason to try fewer
_STEPS = 3  # of a trial
_FIRST, _LAST = 20.0, 300.0  # seconds between two trials: doubled after each that changes nothing


def choose(work: Callable[[], object], most: int) -> tuple[int, str]:
    """The number of threads with which `work` takes the least time: `most`, or half as often as that is faster."""
    taken = {most: _seconds(work, most)}
    best = most
    while best > 1:
        fewer = best // 2
        # In turn, so that what comes and goes on the machine meets both.
        pairs = [(_seconds(work, best), _seconds(work, fewer)) for _ in range(2)]
        taken[best], taken[fewer] = (min(times) for times in zip(*pairs, strict=True))
        if taken[best] < _WORTH * taken[fewer]:
            break
        best = fewer
    torch.set_num_threads(best)
    if best == most:
        return most, "as many as torch takes of this machine"
    return best, f"measured {taken[most] / taken[best]:.1f} times as fast as {most}"


class Tuner:
    """Tries another number of threads for a few steps now and then, and stays with the faster one.

    Fewer are tried while the steps wait for the processor; more, up to `most`, once there are fewer. The last bits of
    the weights depend on the number of threads: this is for runs that promise no bits, those of a time budget.
    """

    def __init__(self, threads: int, most: int) -> None:
        self.threads, self.most = threads, most
        self._pause = _FIRST
        self._steps: list[float] = []
        self._trial: int | None = None
        self._begin()

    def note(self, seconds: float) -> bool:
        """Take in how long a step took; whether another number of threads is used from now on."""
        self._steps.append(seconds)
        if self._trial is None:
            if len(self._steps) >= _STEPS and time.monotonic() - self._since > self._pause:
                self._try()
            return False
        if len(self._steps) < _STEPS:
            return False
        trial, taken = self._trial, statistics.median(self._steps)
        better = taken * _WORTH < self._usual
        if better:
            self.threads = trial
        self._pause = _FIRST if better else min(_LAST, 2 * self._pause)
        torch.set_num_threads(self.threads)
        self._begin()
        return better

    def _begin(self) -> None:
        self._trial, self._steps = None, []
        self._since, self._waited = time.monotonic(), waited_for_core()

    def _try(self) -> None:
        """Begin a trial of fewer or of more threads, where there is a reason for one."""
        share = (waited_for_core() - self._waited) / (time.monotonic() - self._since)
        fewer, more = max(1, self.threads // 2), min(self.most, 2 * self.threads)
        other = more if share <= _CROWDED or (math.isnan(share) and self.threads == 1) else fewer
        usual = statistics.median(self._steps[-5:])
        self._begin()
        if other != self.threads:
            self._trial, self._usual = other, usual
            torch.set_num_threads(other)


def _seconds(work: Callable[[], object], threads: int) -> float:
    torch.set_num_threads(threads)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
