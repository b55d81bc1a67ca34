"""What a person sees of a run: a bar in a terminal, now and then a line elsewhere, nothing when quiet."""

import io
import logging
import re
import time
from typing import Any

import pytest

from nearfar.training import display as displays
from nearfar.training.alarms import Alarm
from nearfar.training.display import Display

RECORD = {"step": 5, "loss": 1.234, "view_retrieval": 0.5, "effective_rank": 12.3, "samples_per_second": 700.0}
ALARM = Alarm(5, "collapse", "The features lie on a line.")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="nearfar")
    return caplog


@pytest.fixture(params=[120])
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal shows, of 120 columns where no other number is asked for."""
    import rich.console

    seen, console = io.StringIO(), rich.console.Console

    def made(**options: Any) -> rich.console.Console:
        return console(file=seen, force_terminal=True, width=request.param, color_system=None)

    monkeypatch.setattr(rich.console, "Console", made)
    monkeypatch.setattr(displays.progress, "live", lambda: True)
    return seen


def test_lines_are_logged_where_there_is_no_terminal(
    lines: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display() as display:
        display.advance(0.5, 65.0)
        display.show(0.5, RECORD, 65.0)
    assert lines.messages == ["step 5 ·  50% · loss 1.234 · views found 50% · rank 12 · 700/s · 1:05 left"]
    assert capsys.readouterr() == ("", "")


def test_lines_do_not_crowd(lines: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Display() as display:
        for second in range(25):
            now[0] = float(second)
            display.show(second / 100, RECORD | {"step": second}, None)
    assert [message.split(" ·")[0] for message in lines.messages] == ["step 0", "step 10", "step 20"]


def test_the_last_record_gets_its_line(lines: pytest.LogCaptureFixture) -> None:
    with Display() as display:
        display.show(0.5, RECORD, 3.0)
        display.show(1.0, RECORD | {"step": 10}, 0.0)
    assert lines.messages[-1].startswith("step 10 · 100% ·")
    assert "left" not in lines.messages[-1]


def test_figures_of_earlier_records_stay_in_sight(lines: pytest.LogCaptureFixture) -> None:
    with Display() as display:
        display.show(0.5, RECORD | {"knn": 0.625}, None)
        display.show(1.0, RECORD, None)
    assert "kNN 62.5%" in lines.messages[-1]


def test_quiet_shows_nothing(
    screen: io.StringIO, lines: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display(quiet=True) as display:
        display.advance(0.5, 2.0)
        display.show(1.0, RECORD, None)
    assert lines.messages == []
    assert screen.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_alarms_are_warnings_even_when_quiet(lines: pytest.LogCaptureFixture) -> None:
    with Display(quiet=True) as display:
        display.alarm(ALARM)
    assert [(one.levelname, one.message) for one in lines.records] == [
        ("WARNING", "step 5: The features lie on a line.")
    ]


def test_a_terminal_gets_a_bar_and_no_lines(screen: io.StringIO, lines: pytest.LogCaptureFixture) -> None:
    with Display() as display:
        display.show(0.5, RECORD, 65.0)
        display.advance(0.5, 65.0)
    shown = screen.getvalue()
    assert " 50%" in shown
    assert "1:05 left" in shown
    assert "loss 1.234" in shown
    assert lines.messages == []


@pytest.mark.parametrize("screen", [60, 80, 100], indirect=True)
def test_figures_make_way_for_the_bar(screen: io.StringIO, request: pytest.FixtureRequest) -> None:
    with Display() as display:
        display.show(0.5, RECORD | {"knn": 0.5, "data_wait": 0.4}, 40_000.0)
        display.advance(0.5, 40_000.0)
    (line,) = {text for text in re.split(r"[\r\n]|\x1b\[[\dA-Z?]+", screen.getvalue()) if "11:06:40 left" in text}
    assert line.startswith(f"train {12 * chr(0x2501)}{12 * ' '}  50% ")  # the bar whole, half of it done
    assert ("loss 1.234" in line, "rank 12" in line) == {60: (False, False), 80: (True, False), 100: (True, True)}[
        request.node.callspec.params["screen"]
    ]


def test_a_bar_makes_way_for_an_alarm(screen: io.StringIO, lines: pytest.LogCaptureFixture) -> None:
    with Display() as display:
        display.alarm(ALARM)
        assert display._bar is not None
        assert display._bar.live.is_started
    assert len(lines.messages) == 1


@pytest.mark.parametrize(("seconds", "text"), [(5.9, "0:05"), (65, "1:05"), (3725, "1:02:05")])
def test_times_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert displays._clock(seconds) == text
