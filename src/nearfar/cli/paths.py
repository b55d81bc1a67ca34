"""Paths as they are typed: expanded once, made absolute, and tried where something is to be written."""

import os

from nearfar.modalities import registry


def expanded(kind: str, path: str) -> str:
    """An absolute path without `~`; what is no path, such as `digits`, `hf:NAME` and `off`, as it is.

    `kind` says what stands there: `data`, an `input`, a `cache`, or an `output`.
    """
    if kind == "data":
        return registry.lasting(path)
    if kind == "cache" and path in ("auto", "off"):
        return path
    found = os.path.expanduser(path)
    return os.path.abspath(found) if kind != "input" or os.path.lexists(found) else found
