"""What happens to files: bytes change, a stretch is lost or comes twice, the end is cut off; keyed by a number."""

import hashlib
import os
import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMES = int(os.environ.get("NEARFAR_FUZZ", "1"))
"""How many times as much is tried: `NEARFAR_FUZZ=100 pytest -k fuzz` tries what no test run has the time for."""


def altered(content: bytes, number: int) -> bytes:
    """The content after one to eight mishaps, a function of `number`; a third of them at either end."""
    rng, raw = random.Random(number), bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        if not raw:
            break
        near = min(len(raw), 200)
        at = rng.choice((rng.randrange(near), len(raw) - 1 - rng.randrange(near), rng.randrange(len(raw))))
        part = slice(at, at + rng.choice((1, 1, 4, 64)))
        length = len(raw[part])
        match rng.randrange(8):
            case 0 | 1:
                raw[at] ^= 1 << rng.randrange(8)
            case 2:
                raw[part] = rng.randbytes(length)
            case 3:
                raw[part] = bytes(length)
            case 4:
                raw[part] = b"\xff" * length
            case 5:
                del raw[part]
            case 6:
                raw[part] *= 2
            case 7:
                del raw[at:]
    return bytes(raw)


@contextmanager
def named(*what: Any) -> Iterator[None]:
    """A failure inside tells `what` was tried."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"tried: {what}")
        raise


@contextmanager
def untouched(folder: Path) -> Iterator[None]:
    """Nothing below `folder` is made, changed or removed inside."""
    before = _contents(folder)
    yield
    assert _contents(folder) == before


def _contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files} | {
        str(path): "a folder" for path in folder.rglob("*") if path.is_dir()
    }


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system refuses files of more than `size` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Bomb:
    """Unpickling it makes a file: a sign that code from the disk was run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)
