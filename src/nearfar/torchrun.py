"""What torchrun tells a process of itself, by its environment, and how such a process ends."""

import os
import sys
import time
from contextlib import suppress
from typing import NamedTuple, NoReturn


class Place(NamedTuple):
    """This process's rank among `world`, and its rank on this machine among its `neighbours`, itself included.

    `restarts` says how often all were started anew, `most_restarts` how often they may be.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    neighbours: int = 1
    restarts: int = 0
    most_restarts: int = 0


def place() -> Place:
    """This process's place; that of one alone without torchrun."""
    return Place(*(int(os.environ.get(name, default)) for name, default in zip(_NAMES, Place(), strict=True)))


_NAMES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "TORCHELASTIC_RESTART_COUNT",
    "TORCHELASTIC_MAX_RESTARTS",
)


def mark(error: BaseException, rank: str) -> None:
    """Note on an error which rank it is of, where that rank fails alone."""
    error.nearfar_rank = rank  # type: ignore[attr-defined]


def marked(error: BaseException) -> str | None:
    """The rank that `mark` noted on an error; None where all ranks have it."""
    return getattr(error, "nearfar_rank", None)


def record(text: str) -> None:
    """Write down why this process fails where torchrun looks for it, so that its summary ends with the cause.

    The format is that of torch.distributed.elastic.multiprocessing.errors.ErrorHandler.
    """
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        import json

        extra = {"py_callstack": text, "timestamp": str(int(time.time()))}
        with suppress(OSError), open(file, "w", encoding="utf-8", errors="backslashreplace") as handle:
            json.dump({"message": {"message": text, "extraInfo": extra}}, handle)


def leave(code: int) -> NoReturn:
    """End the process; at once where it trained with others.

    Threads of collectives may release Python's objects after the interpreter has shut down, which aborts the process:
    torchrun would take a run that has ended well for one that failed.
    """
    if place().world > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
