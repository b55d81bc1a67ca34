"""A folder and all below it, as a sorted list of files; its sub-folders are classes or splits."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from nearfar.data import splits
from nearfar.data.contents import Files, reason_of
from nearfar.data.keys import printable, unique
from nearfar.data.labels import Column
from nearfar.data.samples import Samples, data_name
from nearfar.data.splits import are_splits
from nearfar.data.strings import Strings, StringsBuilder


@dataclass(frozen=True)
class Walk:
    """The files below a folder: `names` are relative to it, with `/`, sorted."""

    names: Strings = field(default_factory=lambda: Strings.of(()))
    ignored: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)


def walk(root: str, extensions: frozenset[str]) -> Walk:
    """List the files with one of `extensions` (lower case, with the dot); others are counted by theirs.

    Hidden entries and `__MACOSX` are passed over. Links are followed, but no folder is entered twice.
    """
    names, ignored, refused = StringsBuilder(), Counter[str](), list[tuple[str, str]]()
    visited: set[tuple[int, int]] = set()
    links: list[str] = []

    def enter(prefix: str) -> None:
        """Take what lies in a folder in the order of whole paths, folders in their places."""
        try:
            here = os.path.join(root, prefix)
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in visited:
                return
            visited.add((status.st_dev, status.st_ino))
            some: list[str] = []
            with os.scandir(here) as entries:
                for entry in entries:
                    name = entry.name
                    if is_passed_over(name):
                        continue
                    if entry.is_file():
                        extension = extension_of(name)
                        if extension in extensions:
                            some.append(name)
                        else:
                            ignored[extension or "(no extension)"] += 1
                    elif entry.is_dir():
                        if entry.is_symlink():
                            links.append(f"{prefix}{name}/")
                        else:
                            some.append(f"{name}/")
                    elif extension_of(name) in extensions:
                        broken = entry.is_symlink()
                        refused.append((printable(prefix + name), "broken link" if broken else "not a plain file"))
        except OSError as error:
            refused.append((printable(prefix) or ".", reason_of(error)))
            return
        stack.append((prefix, iter(sorted(some))))

    stack: list[tuple[str, Iterator[str]]] = []
    enter("")
    linked = False
    while stack or links:
        if not stack:  # links wait until all real folders are seen: so a folder is listed under its own name first
            linked = True
            enter(links.pop())
            continue
        prefix, rest = stack[-1]
        for name in rest:
            if name.endswith("/"):
                enter(prefix + name)
                break
            names.append(prefix + name)
        else:
            stack.pop()
    found = names.finish()
    if linked:
        found = found.take(np.array(sorted(range(len(found)), key=found.__getitem__), dtype=np.int64))
    refused.sort()
    return Walk(found, ignored, refused)


def list_folder(path: str, extensions: frozenset[str], asked: str | None) -> Samples:
    """The files of a folder, or of its split `asked`, labelled by the sub-folders; raises DataError."""
    root = unwrap(path)
    existing = splits_in(root)
    chosen = splits.pick(path, existing, asked)
    start = root if chosen is None else os.path.join(root, chosen)
    found = walk(start, extensions)
    before = os.path.relpath(start, path).replace(os.sep, "/") + "/" if start != path else ""
    depth = 1 if existing and chosen is None else 0  # the first level holds the splits
    classes = Column()
    for name in found.names:
        level = name.split("/", depth + 1)
        classes.append(level[depth] if len(level) > depth + 1 else None)
    known = {name for name in classes.values if name is not None}
    if existing:  # every split counts the same classes
        known |= {name for split in existing for name in folders_in(os.path.join(root, split))}
    order = sorted(known) if classes.says_anything else []
    place: dict[str | None, int] = {name: i for i, name in enumerate(order)}
    numbers = np.array([place.get(name, -1) for name in classes.values], dtype=np.int64)
    return Samples(
        name=data_name(path, chosen),
        keys=unique(printable(before + name) for name in found.names),
        contents=Files(found.names, start),
        rows=np.arange(len(found.names)),
        labels=numbers[classes.numbers] if order else None,
        label_names=tuple(printable(name) for name in order),
        split=chosen,
        ignored=found.ignored,
        refused=tuple((printable(before) + key, reason) for key, reason in found.refused),
    )


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
