"""A bar for long work in a terminal or a notebook, and lines of the log; silence where it is asked for."""

import logging
import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager, nullcontext
from typing import TextIO, TypeVar

T = TypeVar("T")
_QUIET = False
_FEW = 4  # no bar for as few items as this


def silence(quiet: bool = True) -> None:
    """Switch all bars off (or back on) for this process."""
    global _QUIET
    _QUIET = quiet


@contextmanager
def silenced(quiet: bool = True) -> Iterator[None]:
    """Switch all bars off meanwhile; with `quiet=False`, leave them as they are."""
    before = _QUIET
    silence(before or quiet)
    try:
        yield
    finally:
        silence(before)


@contextmanager
def logged(level: int, stream: TextIO | None = None) -> Iterator[None]:
    """Write the log from this level on to a stream meanwhile, by default to standard error.

    What was said of the data once is not said again: a command may open the same data several times.
    """
    logger = logging.getLogger("nearfar")
    handler, before = logging.StreamHandler(stream), logger.level
    handler.setFormatter(logging.Formatter("%(message)s"))
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        new = record.levelno > logging.INFO or text not in said
        said.add(text)
        return new

    handler.addFilter(is_new)
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


@contextmanager
def hushed() -> Iterator[None]:
    """Leave out what is less than an error meanwhile, for work that is one of many like parts."""
    logger = logging.getLogger("nearfar")
    before = logger.level
    logger.setLevel(logging.ERROR)
    with silenced():
        try:
            yield
        finally:
            logger.setLevel(before)


@contextmanager
def heard(*, quiet: bool = False) -> Iterator[None]:
    """Write the log to standard error meanwhile, where nobody has set up logging; with `quiet`, silence."""
    logger = logging.getLogger("nearfar")
    with silenced(quiet), nullcontext() if quiet or logger.hasHandlers() else logged(logger.level or logging.INFO):
        yield


def live() -> bool:
    """Whether somebody sees a bar move: in a terminal or a notebook, and not silenced."""
    return not _QUIET and (sys.stderr.isatty() or "ipykernel" in sys.modules)


def track(items: Iterable[T], what: str, *, show: bool | None = None, count: int | None = None) -> Iterator[T]:
    """Yield `items` under a bar named `what`; `show=None` decides by who looks on and by the length.

    `count` is the number of items, where they cannot say it.
    """
    count = len(items) if isinstance(items, Sized) else count
    if show is None:
        show = live() and (count is None or count > _FEW)
    if not show:
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as bar

    yield from bar(items, description=what, total=count, console=Console(stderr=True), transient=True)
