"""Where decoded samples are kept between runs: one folder of records for each data set and form, bounded in size.

The place is NEARFAR_CACHE, else XDG_CACHE_HOME/nearfar, else ~/.cache/nearfar; or the folder that the user names. When
room is short, the folders that were not used for the longest time go, whole, but never one that a process has open.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar.data.contents import reason_of
from nearfar.data.record_file import INDEX, RECORDS, InUse, Records, remove
from nearfar.files import read_json, replacing, to_json

ABOUT = "about.json"
FORMAT = 1
_SHARE, _NAMED_SHARE = 0.1, 0.9
"""Of the disk's free space: what the cache may take, and what it may take where the user names the folder."""
log = logging.getLogger("nearfar")


def place(cache: str = "auto") -> Path:
    """The folder that holds the cache; `cache` is `auto` or a folder."""
    if cache != "auto":
        return Path(cache).expanduser().absolute()
    if named := os.environ.get("NEARFAR_CACHE"):
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "nearfar"


def open_records(
    cache: str, name: str, form: Mapping[str, Any], *, size: int, count: int, grow: bool = True
) -> Records | None:
    """The records of a data set in a `form` (plain values that tell it from all others), `size` bytes for a sample.

    `count` samples are to fit; with `grow=False` nothing is made or written. None, with a line that says why, where
    there is no room or the folder cannot be used.
    """
    if sys.platform == "win32":  # no advisory locks there
        log.info("%s: decoded samples are not kept, for this system has no locks for files", name)
        return None
    root = place(cache)
    key = hashlib.blake2b(json.dumps([FORMAT, form], sort_keys=True).encode(), digest_size=8).hexdigest()
    folder = root / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', name).strip('-.')[:40]}-{key}"
    if not grow and not (folder / ABOUT).is_file():
        return None
    try:
        records = Records(folder, size)
    except OSError as error:
        _cannot(root, error)
        return None
    try:
        if grow:
            if len(records) > 2 * count + 1000:  # most of it is of files that have changed since
                with suppress(InUse):
                    records.clear()
            _describe(folder, {"format": FORMAT, "name": name, **form, "bytes": count * size})
            records.limit = _available(root, folder, cache, count * size) // size
            if max(records.limit, len(records)) < count:
                log.warning(
                    "%s: decoded samples take %s, and the cache in %s has room for %s: what does not fit is decoded as "
                    "needed. --cache DIR keeps them in a folder with more room.",
                    *(name, _amount(count * size), root, _amount(records.limit * size)),
                )
        else:
            os.utime(folder / ABOUT)
    except OSError as error:
        _cannot(root, error)
    if not len(records) and not records.limit:
        records.close()
        return None
    most = f" of at most {_amount(records.limit * size)}" if records.limit else ""
    log.info(
        "%s: %d of %d samples lie decoded in %s; all take %s%s",
        *(name, min(len(records), count), count, folder, _amount(count * size), most),
    )
    return records


def _cannot(root: Path, error: OSError) -> None:
    log.warning("Decoded samples cannot be kept in %s (%s): they are decoded as needed.", root, reason_of(error))


def _describe(folder: Path, about: Mapping[str, Any]) -> None:
    """Say what the records are, for people and for `_sets`; the file's time is that of the last use."""
    with replacing(folder / ABOUT) as draft:
        draft.write_text(to_json(about, indent=1) + "\n", encoding="utf-8")


def _available(root: Path, own: Path, cache: str, wanted: int) -> int:
    """How many bytes the folder `own` may take, once others are removed for what is `wanted`."""
    sets, share = list(_sets(root)), _SHARE if cache == "auto" else _NAMED_SHARE
    limit = int((shutil.disk_usage(root).free + sum(one.bytes for one in sets)) * share)
    others = sorted((one for one in sets if one.folder != own), key=lambda one: one.used)
    available = limit - sum(one.planned for one in others)
    for one in others if wanted <= limit else ():
        if available >= wanted:
            break
        with suppress(InUse, OSError):
            remove(one.folder)
            log.info("The cache is full: %s was not used for the longest time and is removed", one.folder)
            available += one.planned
    return max(0, available)


@dataclass(frozen=True)
class _Set:
    """A folder of the cache: when it was last used, what it takes, and what it will take when it is full."""

    folder: Path
    used: float
    bytes: int
    planned: int


def _sets(root: Path) -> Iterator[_Set]:
    """All folders of the cache; anything else in the same place is left alone."""
    for folder in root.iterdir():
        with suppress(OSError):  # removed meanwhile, or no folder
            names = {path.name for path in folder.iterdir() if not path.name.startswith(f".{ABOUT}.")}
            if names == {ABOUT, RECORDS, INDEX}:
                there = sum((folder / name).stat().st_size for name in (RECORDS, INDEX))
                try:
                    planned = int(read_json(folder / ABOUT)["bytes"])
                except (ValueError, KeyError, TypeError, ArithmeticError):
                    planned = 0
                yield _Set(folder, (folder / ABOUT).stat().st_mtime, there, max(there, planned))


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
