"""One process at a time: an advisory lock on a file, which ends with the process that holds it."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nearfar.errors import RunError

_log = logging.getLogger("nearfar")


@contextmanager
def locked(file: Path, *, what: str) -> Iterator[None]:
    """Hold the lock `file`, made where it is not there; raises RunError when another process has it.

    `what` names the thing that is being written, for the message.
    """
    if sys.platform == "win32":  # no advisory locks there
        yield
        return
    import fcntl

    try:
        handle = file.open("w")
    except OSError as error:
        raise RunError(f"{what} cannot be written to: {error.strerror}.") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"Another process is writing into {what}; wait for it or stop it.") from None
        except OSError as error:  # some network file systems have no locks
            _log.warning("%s cannot be locked (%s): let no other process write into it.", what, error)
        yield
