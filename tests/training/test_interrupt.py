"""Signals become a question; a second one stops at once; afterwards all is as before."""

import os
import signal
import threading
import time

import pytest

from nearfar.training.interrupt import Interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_nothing_stops(number: signal.Signals) -> None:
    with Interrupt() as interrupt:
        assert not interrupt.asked
        os.kill(os.getpid(), number)
        assert interrupt.asked


def test_a_second_signal_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with Interrupt():
        monkeypatch.setattr(time, "monotonic", lambda: 0.0)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)  # the launcher's, of the same key
        monkeypatch.setattr(time, "monotonic", lambda: 1.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_before_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupt():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_handler_that_python_did_not_set_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    with Interrupt() as interrupt:
        kept, interrupt._before = interrupt._before, dict.fromkeys(interrupt._before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_other_threads_leave_the_handlers_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with Interrupt() as interrupt:
            seen.append((interrupt.asked, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
