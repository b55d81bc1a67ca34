"""DATA as the user writes it: a path, a pattern of paths or a name, and the split behind the colon."""

import difflib
import glob
import itertools
import logging
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from nearfar.data.folder import is_passed_over
from nearfar.data.keys import printable
from nearfar.errors import DataError

HUB = "hf:"
"""What the name of a Hugging Face data set begins with."""

log = logging.getLogger("nearfar")

_MOST = 100_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def parse_data(data: str, *, builtins: Collection[str] = ()) -> tuple[str, str | None]:
    """`DATA` or `DATA:split` to the path and the split; what exists under the whole name is a path."""
    if is_hub(data):
        path, split = parse_data(data.removeprefix(HUB))
        return HUB + path, split
    path = os.path.expanduser(data)
    if os.path.lexists(path) or data in builtins:
        return path, None
    # One letter before the colon is a drive; a slash after it makes it part of a path.
    parts = re.fullmatch(r"(?s)(..+):([^\\/:{}]+)", path)
    return (parts[1], parts[2]) if parts else (path, None)


def lasting(data: str, *, builtins: Collection[str] = ()) -> str:
    """DATA with an absolute path where it is one, so that it means the same from any folder."""
    path, split = parse_data(data, builtins=builtins)
    if path in builtins:
        return data
    hub = is_hub(path)
    place = path.removeprefix(HUB) if hub else path
    if hub and not is_written_as_path(place):
        return data
    if not os.path.exists(place) and (hub or not is_pattern(place)):
        return data
    return (HUB if hub else "") + os.path.abspath(place) + ("" if split is None else f":{split}")


def is_hub(path: str) -> bool:
    """Whether DATA names a data set of Hugging Face."""
    return path.startswith(HUB) and not os.path.lexists(path)


def is_written_as_path(place: str) -> bool:
    """Whether what stands behind `hf:` is a folder on this machine: then it begins with a slash, a dot or a tilde."""
    return place.startswith((".", "/", "~", os.sep))


def is_pattern(path: str) -> bool:
    """Whether a path may stand for several: `*`, `?`, `[...]`, `{a,b}` or `{0000..0099}`."""
    return glob.has_magic(path) or _BRACES.search(path) is not None


def files_of(path: str, builtins: Collection[str] = ()) -> list[Path]:
    """The file, or the files that a pattern matches, sorted within each brace. Raises DataError where none is."""
    if os.path.exists(path):
        if not os.path.isfile(path):  # reading a pipe or a device would never end
            raise DataError(f"{printable(path)!r} is neither a folder nor a plain file.")
        return [Path(path)]
    if is_pattern(path):
        try:
            parts = list(itertools.islice(_expanded(path), _MOST + 1))
        except (RecursionError, ValueError):  # hundreds of braces, or numbers of thousands of digits
            raise DataError(f"{printable(path)[:200]!r} has more braces or digits than can be read.") from None
        if len(parts) > _MOST:
            raise DataError(f"{printable(path)!r} stands for more than {_MOST:,} files: name a folder instead.")
        found = {part: _matching(part) for part in parts}
        matches = [Path(name) for names in found.values() for name in names]
        if matches:
            if lost := [part for part, names in found.items() if not names]:
                log.warning("%d of %d files are not there, the first is %s", len(lost), len(found), printable(lost[0]))
            return list(dict.fromkeys(matches))
    folder, name = os.path.split(path.rstrip("/\\"))
    try:
        near = [entry for entry in os.listdir(folder or ".") if not is_passed_over(entry)]
    except (OSError, ValueError):  # or a name with a NUL
        raise DataError(f"No file or folder {printable(path)!r}: there is no folder {printable(folder)!r}.") from None
    close = difflib.get_close_matches(name, [*near, *(builtins if not folder else ())], n=3)
    shown = " or ".join(repr(printable(os.path.join(folder, entry))) for entry in close)
    hint = f"Did you mean {shown}?" if close else f"{printable(os.path.abspath(folder or '.'))!r} holds no such name."
    raise DataError(f"No file or folder {printable(path)!r}. {hint}")


def _matching(path: str) -> list[str]:
    if os.path.isfile(path):
        return [path]
    return sorted(name for name in glob.glob(path, recursive=True) if os.path.isfile(name))


def _expanded(path: str) -> Iterator[str]:
    """The names that braces stand for, in their order: `{a,b}` and `{08..11}`, which keeps the digits' number."""
    braces = _BRACES.search(path)
    if braces is None:
        yield path
        return
    counted = _RANGE.fullmatch(braces[1])
    options: Iterator[str]
    if counted:
        first, last, width = int(counted[1]), int(counted[2]), len(counted[1])
        step = 1 if last >= first else -1
        options = (f"{number:0{width}d}" for number in range(first, last + step, step))
    elif "," in braces[1]:
        options = iter(braces[1].split(","))
    else:  # a part of the name
        yield from (path[: braces.end()] + rest for rest in _expanded(path[braces.end() :]))
        return
    for option in options:
        yield from _expanded(path[: braces.start()] + option + path[braces.end() :])
