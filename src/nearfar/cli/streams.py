"""Standard streams as services, cron jobs and old terminals give them: closed, without a reader, of few letters."""

import codecs
import os
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

_ESCAPED = "nearfar.escaped"


def prepare() -> None:
    """Open what is closed on the null device, and let no letter that an encoding lacks end the work.

    A closed stream's number would go to the next file that is opened, and the first print would write into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number, which is this one
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            null = open(number, "w", encoding="utf-8", errors=_ESCAPED, closefd=False)  # noqa: SIM115
            setattr(sys, name, null)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ESCAPED)


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes of file names that are no text as those bytes, so that they name the file; other letters as \\xe4."""
    if isinstance(error, UnicodeEncodeError):
        error.end = error.start + 1
        try:
            return codecs.lookup_error("surrogateescape")(error)
        except UnicodeEncodeError:
            pass
    return codecs.lookup_error("backslashreplace")(error)


codecs.register_error(_ESCAPED, _escape)


class Lenient:
    """A stream for progress: what is written without a reader, or without room, is lost and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # ValueError: it is closed
            return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def lenient(stream: TextIO) -> TextIO:
    """The stream, as one that never raises."""
    return cast(TextIO, Lenient(stream))
