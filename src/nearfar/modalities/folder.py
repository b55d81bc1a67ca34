"""A folder and all below it, as a sorted list of files."""

import os
from collections import Counter
from dataclasses import dataclass, field

from nearfar.modalities.contents import reason_of
from nearfar.modalities.keys import printable
from nearfar.modalities.splits import are_splits


@dataclass(frozen=True)
class Walk:
    """The files below a folder: `names` are relative to it, with `/`, sorted."""

    names: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)


def walk(root: str, extensions: frozenset[str]) -> Walk:
    """List the files with one of `extensions` (lower case, with the dot); others are counted by theirs.

    Hidden entries and `__MACOSX` are passed over. Links are followed, but no folder is entered twice.
    """
    found = Walk()
    visited: set[tuple[int, int]] = set()
    pending = [""]
    links: list[str] = []
    # Links wait until all real folders are seen: so a folder is listed under its own name first.
    while pending or links:
        prefix = pending.pop() if pending else links.pop()
        try:
            here = os.path.join(root, prefix)
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(here) as entries:
                some = sorted(entries, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            found.refused.append((printable(prefix) or ".", reason_of(error)))
            continue
        for entry in some:
            name = entry.name
            if is_passed_over(name):
                continue
            if entry.is_file():
                extension = extension_of(name)
                if extension in extensions:
                    found.names.append(prefix + name)
                else:
                    found.ignored[extension or "(no extension)"] += 1
            elif entry.is_dir():
                (links if entry.is_symlink() else pending).append(f"{prefix}{name}/")
            elif extension_of(name) in extensions:
                broken = entry.is_symlink()
                found.refused.append((printable(prefix + name), "broken link" if broken else "not a plain file"))
    found.names.sort()
    found.refused.sort()
    return found


def folders_in(root: str) -> list[str]:
    """Names of the folders directly in a folder, sorted, without the hidden ones."""
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not is_passed_over(entry.name))
    except OSError:
        return []


def splits_in(root: str) -> list[str]:
    """Names of the splits that a folder's children are, or none."""
    names = folders_in(root)
    return names if are_splits(names) else []


def unwrap(root: str) -> str:
    """The folder to start from: archives often unpack to one folder that holds all the others.

    A folder is passed through when all it holds is one folder, which is no split and holds folders only.
    """
    while True:
        try:
            with os.scandir(root) as entries:
                some = [entry for entry in entries if not is_passed_over(entry.name)]
            if len(some) != 1 or not some[0].is_dir() or some[0].is_symlink() or are_splits([some[0].name]):
                return root
            inner = os.path.join(root, some[0].name)
            with os.scandir(inner) as entries:
                below = [entry.is_dir() for entry in entries if not is_passed_over(entry.name)]
        except OSError:
            return root
        if not below or not all(below):
            return root
        root = inner


def extension_of(name: str) -> str:
    """The extension in lower case with its dot, or nothing."""
    stem, dot, end = name.rpartition(".")
    return f".{end.lower()}" if dot and stem else ""


def is_passed_over(name: str) -> bool:
    """Whether an entry is hidden or left behind by an archiver."""
    return name.startswith(".") or name == "__MACOSX"
