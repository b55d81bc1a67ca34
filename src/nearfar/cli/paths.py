"""Paths as they are typed: expanded once, made absolute, and tried where something is to be written."""

import os
import tempfile
from pathlib import Path

from nearfar.files import cannot_write
from nearfar.modalities import registry


def expanded(kind: str, path: str) -> str:
    """An absolute path without `~`; what is no path, such as `digits`, `hf:NAME` and `off`, as it is.

    `kind` says what stands there: `data`, an `input`, a `cache`, or an `output`.
    """
    if kind == "data":
        from nearfar.data.location import lasting

        return lasting(path, builtins=registry.builtins())
    if kind == "cache" and path in ("auto", "off"):
        return path
    found = os.path.expanduser(path)
    return os.path.abspath(found) if kind != "input" or os.path.lexists(found) else found


def check_writable(path: str) -> None:
    """Raise OutputError or MachineError where nothing can be written at `path`, before any work is done for it."""
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
