"""The number of threads is the fastest of those tried; a busy machine changes it, and a given one stays."""

from collections.abc import Callable

import pytest
import torch

from nearfar.training import thread_count
from nearfar.training.thread_count import Tuner, choose


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock, the time waited, and the number of threads of a machine that is made up."""
    monkeypatch.setattr(torch, "set_num_threads", lambda count: used.append(count))
    monkeypatch.setattr(thread_count.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(thread_count.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(thread_count, "waited_for_core", lambda: waited[0])
    clock[0], waited[0] = 0.0, 0.0
    used.clear()


clock, waited, used = [0.0], [0.0], [0]


def work(seconds: dict[int, float]) -> Callable[[], None]:
    def run() -> None:
        clock[0] += seconds[used[-1]]

    return run


@pytest.mark.parametrize(
    ("seconds", "threads"),
    [
        ({8: 1.0, 4: 1.5}, 8),
        ({2: 1.0, 1: 0.95}, 2),  # not worth it
        ({8: 9.0, 4: 3.0, 2: 1.0, 1: 2.0}, 2),
        ({2: 60.0, 1: 3.0}, 1),
        ({1: 1.0}, 1),
    ],
)
@pytest.mark.usefixtures("machine")
def test_the_fastest_number_of_threads_is_chosen(seconds: dict[int, float], threads: int) -> None:
    most = max(seconds)
    found, why = choose(work(seconds), most)
    assert (found, used[-1]) == (threads, threads)
    assert ("measured" in why) == (threads < most)


def run(tuner: Tuner, seconds: dict[int, float], until: float, crowded: float) -> list[int]:
    """The numbers of threads that the steps of a while are made with."""
    seen = []
    while clock[0] < until:
        threads = used[-1]
        seen.append(threads)
        clock[0] += seconds[threads]
        waited[0] += crowded * seconds[threads]
        tuner.note(seconds[threads])
    return seen


@pytest.mark.usefixtures("machine")
def test_threads_become_fewer_while_others_take_the_processor_and_more_again() -> None:
    torch.set_num_threads(2)
    tuner = Tuner(2, 2)
    alone, busy = {2: 1.0, 1: 1.8}, {2: 9.0, 1: 2.0}
    assert set(run(tuner, alone, 200, crowded=0.01)) == {2}  # nothing to gain, nothing is tried
    run(tuner, busy, 300, crowded=0.5)
    assert tuner.threads == 1
    assert used[-1] == 1
    run(tuner, alone, 700, crowded=0.01)
    assert tuner.threads == 2
    tried = run(tuner, alone | {1: 1.0}, 2000, crowded=0.5)  # it waits, but fewer are no better
    assert tuner.threads == 2
    assert 0 < tried.count(1) < 0.1 * len(tried)
