"""Bars are for those who look on: silence elsewhere, and silence where it was asked for."""

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from nearfar import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def look_on(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal from now on; a fixture would come before pytest's own capturing, which takes its place."""
    seen = Terminal()
    monkeypatch.setattr(sys, "stderr", seen)
    monkeypatch.setenv("TERM", "xterm")
    return seen


@pytest.fixture(autouse=True)
def loud() -> Iterator[None]:
    yield
    progress.silence(False)


def test_items_pass_through() -> None:
    assert list(progress.track(range(9), "work")) == list(range(9))
    assert list(progress.track(iter("abc"), "work")) == ["a", "b", "c"]


def test_nothing_is_written_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    list(progress.track(range(100), "work"))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = look_on(monkeypatch)
    assert list(progress.track(range(9), "work")) == list(range(9))
    assert "work" in terminal.getvalue()


def test_few_items_get_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = look_on(monkeypatch)
    list(progress.track(range(3), "work"))
    assert terminal.getvalue() == ""


def test_show_decides_over_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = look_on(monkeypatch)
    list(progress.track(range(9), "work", show=False))
    assert terminal.getvalue() == ""
    list(progress.track(range(2), "work", show=True))
    assert "work" in terminal.getvalue()


def test_silence_holds_until_it_is_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = look_on(monkeypatch)
    progress.silence()
    list(progress.track(range(9), "work"))
    assert terminal.getvalue() == ""
    progress.silence(False)
    list(progress.track(range(9), "work"))
    assert "work" in terminal.getvalue()


def test_silence_ends_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    look_on(monkeypatch)
    with progress.silenced():
        assert not progress.live()
    assert progress.live()


def test_a_block_that_asks_for_nothing_leaves_silence_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    look_on(monkeypatch)
    progress.silence()
    with progress.silenced(False):
        assert not progress.live()
    assert not progress.live()


def test_silence_ends_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    look_on(monkeypatch)
    with pytest.raises(RuntimeError), progress.silenced():
        raise RuntimeError
    assert progress.live()


def test_a_notebook_counts_as_looking_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not progress.live()
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert progress.live()


@pytest.mark.parametrize(
    ("set_up", "quiet", "said"), [(False, False, "half way\n"), (False, True, ""), (True, False, "")]
)
def test_the_log_is_heard_where_nobody_has_set_up_logging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], set_up: bool, quiet: bool, said: str
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [logging.NullHandler()] if set_up else [])
    logger = logging.getLogger("nearfar")
    with progress.heard(quiet=quiet):
        logger.info("half way")
    logger.info("later")
    assert capsys.readouterr() == ("", said)
    assert (logger.level, logger.handlers) == (logging.NOTSET, [])


def test_the_log_says_a_thing_once_but_warns_each_time() -> None:
    seen = io.StringIO()
    with progress.logged(logging.INFO, seen):
        for _ in range(2):
            logging.getLogger("nearfar").info("rows.csv: %s", "with a header")
            logging.getLogger("nearfar").warning("look")
    assert seen.getvalue().splitlines() == ["rows.csv: with a header", "look", "look"]
