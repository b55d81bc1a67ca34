"""DATA as the user gives it -> a list of samples: keys, labels, and where their bytes lie. Nothing is read yet.

DATA is a folder, a list of files, a manifest, tar files, arrays, several of one kind, a data set of Hugging Face, or a
single file; `DATA:split` picks a split.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from nearfar.data import arrays, hub, manifest, parquet, splits, tar
from nearfar.data.contents import Files
from nearfar.data.folder import extension_of, is_passed_over, list_folder, splits_in, unwrap, walk
from nearfar.data.keys import printable, unique
from nearfar.data.patterns import HUB, files_of, parse_data
from nearfar.data.samples import Samples, data_name
from nearfar.data.sheet import Sheet, Wanted
from nearfar.errors import DataError

__all__ = ["CONTAINERS", "Samples", "open_samples", "parse_data", "splits_of"]

log = logging.getLogger("nearfar")


class Reader(Protocol):
    """How one kind of file is read."""

    def read(self, files: Sequence[Path], wanted: Wanted) -> Sheet:
        """The rows of all files."""

    def split_names(self, files: Sequence[Path], wanted: Wanted) -> list[str]:
        """The splits that the rows belong to; none where nothing says so."""


CONTAINERS: dict[str, Reader] = {
    **dict.fromkeys(manifest.TABLES, manifest),
    ".parquet": parquet,
    ".tar": tar,
    ".npy": arrays,
    ".npz": arrays,
}
"""Files that hold or name many samples, by extension."""

_IN_FOLDERS = (".parquet", ".tar", ".csv", ".tsv", ".jsonl")

_KINDS = {
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"), "image"),
    **dict.fromkeys((".wav", ".flac", ".ogg", ".mp3", ".m4a"), "audio"),
    **dict.fromkeys((".txt", ".md"), "text"),
}


def open_samples(
    data: str,
    *,
    extensions: frozenset[str],
    columns: Sequence[str],
    split: str | None = None,
    inline: bool = False,
    kind: str = "image",
    builtins: Collection[str] = (),
) -> Samples:
    """Find the samples of DATA: files with one of `extensions` (lower case), or rows with one of `columns`.

    `columns` are tried in their order, in any case; with `inline` a cell is the sample, else its path. Where DATA has
    splits and none is asked for, `train` is taken, or the only one there is; `all` takes all. Class numbers are the
    same for all splits of one DATA. `kind` and `builtins` only make messages clearer. Raises DataError, and
    MissingExtra for a data set of Hugging Face without the package for them.
    """
    path, asked = parse_data(data, builtins=builtins)
    asked = split or asked
    wanted = Wanted(extensions=extensions, columns=columns, inline=inline)
    if is_hub(path):
        chosen = splits.pick(path, hub.split_names(path), asked)
        found = replace(hub.read(path, chosen, wanted).listing(data_name(path, chosen)), split=chosen)
    elif os.path.isdir(path):
        parts = _containers_in(path, wanted)
        found = _rows(path, parts, wanted, asked) if parts else list_folder(path, extensions, asked)
    else:
        files = files_of(path, builtins)
        suffixes = {file.suffix.lower() for file in files}
        if len({id(CONTAINERS.get(suffix)) for suffix in suffixes}) == 1 and suffixes <= CONTAINERS.keys():
            found = _rows(path, {"": files}, wanted, asked)
        elif len(files) == 1 and suffixes <= manifest.LISTS:
            splits.pick(path, [], asked)
            found = manifest.read_list(files[0], wanted).listing(data_name(path, None))
        elif suffixes <= extensions:
            splits.pick(path, [], asked)
            found = _files(path, files)
        else:
            raise DataError(
                f"{printable(path)!r} is nothing that nearfar reads as {kind} data: give a folder (unpack archives "
                "first, but for plain .tar files), a list of files (.txt), a manifest (.csv, .tsv, .jsonl, .parquet), "
                f"arrays (.npy, .npz) or one of {' '.join(sorted(extensions))}."
            )
    if not len(found):
        raise DataError(_nothing(path, found, kind))
    if found.ignored:
        counts = ", ".join(f"{n} {extension}" for extension, n in sorted(found.ignored.items()))
        log.info("%s: other files are passed over (%s)", found.name, counts)
    return found


def splits_of(data: str, *, extensions: frozenset[str] = frozenset()) -> list[str]:
    """The names of the splits of DATA (a split after the colon is left aside); an empty list where it has none."""
    path, _ = parse_data(data)
    wanted = Wanted(extensions=extensions, columns=())
    if is_hub(path):
        return hub.split_names(path)
    if os.path.isdir(path):
        parts = _containers_in(path, wanted)
        return _split_names(parts, wanted) if parts else splits_in(unwrap(path))
    files = files_of(path)
    if {file.suffix.lower() for file in files} <= CONTAINERS.keys():
        return _split_names({"": files}, wanted)
    return []


def is_hub(path: str) -> bool:
    """Whether DATA names a data set of Hugging Face."""
    return path.startswith(HUB) and not os.path.lexists(path)


def _rows(path: str, parts: Mapping[str, Sequence[Path]], wanted: Wanted, asked: str | None) -> Samples:
    """The rows of files that make up one data set, given by split ("" for none)."""
    files = [file for some in parts.values() for file in some]
    existing = _split_names(parts, wanted)
    chosen = splits.pick(path, existing, asked)
    by_file = set(parts) != {""}
    taken = parts[chosen] if by_file and chosen is not None else files
    sheet = CONTAINERS[files[0].suffix.lower()].read(taken, wanted)
    found = replace(sheet.listing(data_name(path, chosen)), split=chosen)
    if chosen is None or by_file:
        return found
    return found.take(np.flatnonzero(sheet.cells["split"].is_(chosen)))


def _split_names(parts: Mapping[str, Sequence[Path]], wanted: Wanted) -> list[str]:
    if set(parts) != {""}:
        return list(parts)
    return CONTAINERS[parts[""][0].suffix.lower()].split_names(parts[""], wanted)


def _containers_in(path: str, wanted: Wanted) -> dict[str, list[Path]]:
    """The containers of a folder without other samples, by the split that their names begin with ("" for none)."""
    for here in (path, os.path.join(path, "data")):
        try:
            names = sorted(name for name in os.listdir(here) if not is_passed_over(name))
        except OSError:
            return {}
        for suffix in _IN_FOLDERS:
            found = [Path(here, name) for name in names if extension_of(name) == suffix]
            files = [file for file in found if file.is_file()]
            if not files:
                continue
            if suffix != ".parquet" and walk(path, wanted.extensions).names:
                continue
            if suffix in manifest.TABLES and not _by_split(files):
                continue
            return _by_split(files) or {"": files}
    return {}


def _by_split(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files such as `train.csv` or `train-00000-of-00002.parquet` by split; empty where one has another name."""
    found: dict[str, list[Path]] = {}
    for file in files:
        split = re.sub(r"-\d+(-of-\d+)?(-[0-9a-f]+)?$", "", file.stem)
        if not splits.are_splits([split]):
            return {}
        found.setdefault(split, []).append(file)
    return found


def _files(path: str, files: Sequence[Path]) -> Samples:
    return Samples(
        name=data_name(path, None),
        keys=unique(printable(file.name) for file in files),
        contents=Files([os.fspath(file) for file in files]),
        rows=np.arange(len(files)),
    )


def _nothing(path: str, found: Samples, kind: str) -> str:
    """What to say where there is no sample: what there is instead."""
    message = f"No {kind} samples in {printable(path)!r}"
    if found.split is not None:
        message += f" (split {found.split})"
    if found.refused:
        key, reason = found.refused[0]
        return f"{message}: {len(found.refused)} could not be read, the first is {key!r} ({reason})."
    if not found.ignored:
        return f"{message}: it is empty."
    common = Counter(found.ignored).most_common(5)
    message += ": found " + ", ".join(f"{n} {extension} files" for extension, n in common)
    others = [other for extension, _ in common if (other := _KINDS.get(extension)) not in (None, kind)]
    return f"{message}; give --modality {others[0]} to read those." if others else f"{message}."
