"""Files that a user keeps: atomic writes, strict JSON, one writing process at a time, and errors in plain words."""

import errno
import json
import logging
import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from nearfar.errors import MachineError, NearfarError, OutputError, RunError

_log = logging.getLogger("nearfar")
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
"""What a write fails with through no fault of the path that was given."""
_DRAFT = re.compile(r"\..+\.(\d+|part)")


def cannot_write(path: str | os.PathLike[str], error: OSError, kept: str = "") -> NearfarError:
    """The error to raise where writing to `path` failed: MachineError (exit code 1) for a full disk, else OutputError.

    `kept` says what is still there and how to go on.
    """
    text = f"{os.fspath(path)!r} cannot be written: {error.strerror or error}."
    if error.errno is not None and error.errno not in _MACHINE:  # numpy counts bytes instead
        return OutputError(f"{text} {kept}".rstrip())
    return MachineError(f"{text} {kept or 'What was there before is unchanged; make room and try again.'}")


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise MachineError or OutputError where nothing could be written at `path`; nothing is left there."""
    target = Path(path)
    try:
        if target.is_dir():
            folder = target
        else:
            folder = next(parent for parent in target.parents if os.path.lexists(parent))
            target.exists()  # raises where the name itself cannot be one
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        raise cannot_write(path, error) from None


@contextmanager
def draft_of(path: Path, *, kept: str = "") -> Iterator[Path]:
    """A draft file to write to: it replaces `path` at the end of the block, and is removed after an error.

    Another process sees the old content or the new, never a part. The folder is made where it is not there. Raises
    MachineError or OutputError, see `cannot_write`.
    """
    try:
        with replacing(path) as draft:
            yield draft
    except OSError as error:
        raise cannot_write(path, error, kept) from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """As `draft_of`, for files that are not the user's: raises OSError as it comes."""
    draft = path.absolute().with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        with draft.open("rb+") as handle:
            os.fsync(handle.fileno())
        draft.replace(path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def write(path: Path, content: str | bytes, *, kept: str = "") -> None:
    """Write a file atomically, text as UTF-8 (odd bytes of file names as escapes); raises as `draft_of`."""
    with draft_of(path, kept=kept) as draft:
        draft.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def remove_drafts(folder: Path) -> None:
    """Remove the drafts that processes left which were killed while they wrote; the caller holds the folder's lock."""
    for path in folder.glob(".*"):
        if _DRAFT.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


def plain(value: Any) -> Any:
    """Any result as what JSON has; a number that is not finite becomes null, an unknown object its text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "to_json"):
        return plain(value.to_json())
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if not f.name.startswith("_")}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, Sequence | Set):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # arrays and tensors, and their scalars
        return plain(value.tolist())
    return str(value)


def to_json(content: Any, *, indent: int | None = None) -> str:
    """Plain values as JSON text; raises ValueError for numbers that are not finite."""
    return json.dumps(content, indent=indent, allow_nan=False, ensure_ascii=False)


def from_json(text: str | bytes) -> Any:
    """Plain values of strict JSON text.

    Raises ValueError for anything else: NaN, infinite numbers, a name given twice, nesting without end.
    """
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def write_json(path: Path, content: Any, *, kept: str = "") -> None:
    """Write plain values as indented JSON, atomically; raises as `to_json` and `draft_of`."""
    write(path, to_json(content, indent=2) + "\n", kept=kept)


def read_json(path: Path) -> Any:
    """The plain values in a file of strict JSON; raises OSError, or ValueError as `from_json`."""
    return from_json(path.read_bytes())


@contextmanager
def locked(file: Path, *, what: str) -> Iterator[None]:
    """Hold the lock `file`, made where it is not there; raises RunError when another process has it.

    `what` names the thing that is being written, for the message. The lock ends with the process. On a file system
    without locks, a warning is logged instead.
    """
    from filelock import FileLock, Timeout

    try:
        file.open("a").close()
    except OSError as error:
        raise RunError(f"{what} cannot be written to: {error.strerror}.") from None
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(f"Another process is writing into {what}; wait for it or stop it.") from None
    except (OSError, NotImplementedError) as error:
        _log.warning("%s cannot be locked (%s): let no other process write into it.", what, error)
    try:
        yield
    finally:
        lock.release()


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is not a finite number")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name[:60]!r} is there twice")
        found[name] = value
    return found
