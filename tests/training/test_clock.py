"""How far a run is: by steps, or by time, of which none is forgotten and none runs backwards."""

import time

import pytest

from nearfar.training.clock import Clock


class Now:
    """A clock whose hand the test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    hand = Now()
    monkeypatch.setattr(time, "monotonic", hand.monotonic)
    return hand


def test_steps_are_counted() -> None:
    clock = Clock(steps=4)
    assert [clock.progress(step) for step in range(5)] == [0, 0.25, 0.5, 0.75, 1]
    assert [clock.done(step, 99.0) for step in (0, 3, 4, 5)] == [False, False, True, True]


def test_time_counts_from_the_command_s_start(now: Now) -> None:
    clock = Clock(seconds=100, started=980.0)
    now.at = 1030.0
    assert clock.elapsed == 50
    assert clock.progress(7) == 0.5


def test_time_spent_before_counts(now: Now) -> None:
    clock = Clock(seconds=100, spent=60, started=now.at)
    now.at += 20
    assert clock.elapsed == 80
    assert clock.progress(0) == 0.8
    assert clock.remaining(3) == 20


def test_a_step_that_would_not_fit_is_not_begun(now: Now) -> None:
    clock = Clock(seconds=10, started=now.at)
    now.at += 8
    assert not clock.done(5, 1.9)
    assert clock.done(5, 2.1)


def test_progress_never_falls(now: Now) -> None:
    clock = Clock(seconds=10, started=now.at)
    now.at += 6
    assert clock.progress(0) == 0.6
    now.at -= 3
    assert clock.progress(1) == 0.6
    now.at += 50
    assert clock.progress(2) == 1


def test_what_remains_of_steps_follows_the_pace_since_the_first_of_them(now: Now) -> None:
    clock = Clock(steps=10, started=now.at)
    now.at += 100  # start-up
    clock.progress(0)
    assert clock.remaining(0) is None
    now.at += 8
    assert clock.remaining(4) == 12
    resumed = Clock(steps=10, spent=108.0, started=now.at)
    resumed.progress(4)
    now.at += 2
    assert resumed.remaining(5) == 10


def test_a_clock_runs_towards_one_thing() -> None:
    for wrong in ({}, {"steps": 3, "seconds": 4.0}):
        with pytest.raises(AssertionError):
            Clock(**wrong)  # type: ignore[arg-type]
