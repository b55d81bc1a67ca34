"""A folder and all below it, as a sorted list of files; its sub-folders are classes or splits."""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from nearfar.data import splits
from nearfar.data.contents import Files, reason_of
from nearfar.data.keys import all_printable, printable, unique
from nearfar.data.sample_rows import SampleRows
from nearfar.data.samples import Samples, data_name
from nearfar.data.strings import Strings, StringsBuilder
from nearfar.data.values import DictionaryBuilder

log = logging.getLogger("nearfar")


@dataclass(frozen=True)
class Walk:
    """The files below a folder: `names` are relative to it, with `/`, sorted."""

    names: Strings = field(default_factory=lambda: Strings.of(()))
    ignored: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)


def walk(root: str, extensions: frozenset[str]) -> Walk:
    """List the files with one of `extensions` (lower case, with the dot); others are counted by theirs.

    Hidden entries and `__MACOSX` are passed over. Links are followed, but no folder is entered twice. What cannot be
    looked at is refused, and costs nothing else.
    """
    names, ignored, refused = StringsBuilder(), Counter[str](), list[tuple[str, str]]()
    visited: set[tuple[int, int]] = set()
    links: list[str] = []

    def enter(prefix: str) -> None:
        """Take what lies in a folder in the order of whole paths, folders in their places."""
        some: list[str] = []
        try:
            here = os.path.join(root, prefix)
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in visited:
                return
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(here) as entries:
                for entry in entries:
                    if is_passed_over(entry.name):
                        continue
                    try:
                        look_at(entry, prefix, some)
                    except OSError as error:
                        refused.append((printable(prefix + entry.name), reason_of(error)))
        except OSError as error:
            refused.append((printable(prefix) or ".", reason_of(error)))
        stack.append((prefix, iter(sorted(some))))

    def look_at(entry: os.DirEntry[str], prefix: str, some: list[str]) -> None:
        name = entry.name
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
    tell_left_out(root, existing, chosen)
    start = root if chosen is None else os.path.join(root, chosen)
    found = walk(start, extensions)
    before = os.path.relpath(start, path).replace(os.sep, "/") + "/" if start != path else ""
    name = data_name(path, chosen)
    warn_of_held_out(name, found.names, depth := int(bool(existing) and chosen is None))  # the first level holds splits
    classes = DictionaryBuilder(folders_at(found.names, depth))
    if existing and classes.different:  # every split counts the same classes
        others = {printable(folder) for split in existing for folder in folders_in(os.path.join(root, split))}
        classes = DictionaryBuilder(
            [*sorted({printable(folder) for folder in others}), *folders_at(found.names, depth)]
        )
    labels = classes.finish()
    columns = {"label": labels[len(labels) - len(found.names) :]} if classes.different else {}
    if depth:
        columns["split"] = DictionaryBuilder(folders_at(found.names, 0)).finish()
    return SampleRows(
        keys=unique(all_printable(found.names, before)),
        contents=Files(found.names, start),
        columns=columns,
        ignored=found.ignored,
        refused=[(printable(before) + key, reason) for key, reason in found.refused],
    ).samples(name, chosen)


def folders_at(names: Iterable[str], depth: int) -> Iterator[str | None]:
    """The folder at a depth of each name, None where the file itself stands there or above."""
    for name in names:
        parts = name.split("/", depth + 1)
        yield printable(parts[depth]) if len(parts) > depth + 1 else None


def warn_of_held_out(name: str, files: Strings, depth: int = 0) -> None:
    """Warn of files in folders with names of test data, from a depth on, that are taken with all others."""
    found = files.matching(rf"(?i)^(?:[^/]*/){{{depth},}}(?:{splits.HELD_OUT})/")
    if (count := int(found.sum())) > 0:
        example = files[int(np.argmax(found))]
        log.warning(
            "%s: %d of %d samples lie in folders named as test data are (%s): they are taken with the rest",
            *(name, count, len(files), printable(example)),
        )


def folders_in(root: str) -> list[str]:
    """Names of the folders directly in a folder, sorted, without the hidden ones."""

    def is_folder(entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir()
        except OSError:
            return False

    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if not is_passed_over(entry.name) and is_folder(entry))
    except OSError:
        return []


def splits_in(root: str) -> list[str]:
    """Names of the splits that a folder's children are, or none."""
    return splits.folders_of_splits(folders_in(root))


def tell_left_out(root: str, existing: Sequence[str], chosen: str | None) -> None:
    """Warn of the folders beside splits that are none; once, where training data is opened."""
    left = [name for name in folders_in(root) if existing and name not in existing]
    if left and (chosen is None or splits.canonical(chosen) == "train"):
        log.warning("%s: the folders %s are no splits and are left out", root, ", ".join(map(printable, left[:5])))


def unwrap(root: str) -> str:
    """The folder to start from: archives often unpack to one folder that holds all the others.

    A folder is passed through when all it holds is one folder, which is no split and holds folders only.
    """
    while True:
        try:
            with os.scandir(root) as entries:
                some = [entry for entry in entries if not is_passed_over(entry.name)]
            if len(some) != 1 or not some[0].is_dir() or some[0].is_symlink() or splits.are_splits([some[0].name]):
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
