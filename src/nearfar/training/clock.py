"""The progress of a run: by steps, or by wall time."""

import time


class Clock:
    """Progress in [0, 1] towards `steps`, or towards `seconds` of wall time of which `spent` have passed already.

    Time counts from `started` (a `time.monotonic` value: the command's start); progress never falls.
    """

    def __init__(
        self,
        *,
        steps: int | None = None,
        seconds: float | None = None,
        spent: float = 0.0,
        started: float | None = None,
    ) -> None:
        if (steps is None) == (seconds is None):
            raise AssertionError("a clock runs towards steps or towards seconds")
        self.steps = steps
        self.seconds = seconds
        self._spent = spent
        self._started = time.monotonic() if started is None else started
        self._progress = 0.0
        self._begun: tuple[int, float] | None = None  # the first step of this part of the run, and when it began

    @property
    def elapsed(self) -> float:
        """Seconds of the run, earlier parts included."""
        return self._spent + time.monotonic() - self._started

    def progress(self, step: int) -> float:
        """The share that is done before step number `step`."""
        if self._begun is None:
            self._begun = step, self.elapsed
        now = step / self.steps if self.steps is not None else self.elapsed / (self.seconds or 1.0)
        self._progress = min(1.0, max(self._progress, now))
        return self._progress

    def done(self, step: int, step_seconds: float) -> bool:
        """Whether no further step fits, when one takes about `step_seconds`."""
        if self.steps is not None:
            return step >= self.steps
        return self.elapsed + step_seconds > (self.seconds or 0.0)

    def remaining(self, step: int) -> float | None:
        """Seconds to go, as far as one can tell; None before the first step."""
        if self.seconds is not None:
            return max(0.0, self.seconds - self.elapsed)
        if self.steps is None or self._begun is None or step <= self._begun[0]:
            return None
        first, began = self._begun
        return (self.elapsed - began) / (step - first) * (self.steps - step)
