"""A bar for long work in a terminal or a notebook; silence elsewhere."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")
_QUIET = False


def silence(quiet: bool = True) -> None:
    """Switch all bars off (or back on) for this process."""
    global _QUIET
    _QUIET = quiet


def track(items: Iterable[T], what: str, *, show: bool | None = None) -> Iterator[T]:
    """Yield `items` under a bar named `what`; `show=None` decides by the terminal and the length."""
    count = len(items) if isinstance(items, Sized) else None
    if show is None:
        show = not _QUIET and sys.stderr.isatty() and (count is None or count > 4)
    if not show:
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as bar

    yield from bar(items, description=what, total=count, console=Console(stderr=True), transient=True)
