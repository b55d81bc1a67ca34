"""DATA as the user gives it -> a list of samples: keys, labels, and where their bytes lie. Nothing is read yet.

DATA is a folder, a list of files, a manifest, shards of one, or a single file; `DATA:split` picks a split.
"""

import difflib
import glob
import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import DataError
from nearfar.modalities import labels as coding
from nearfar.modalities import manifest, parquet, splits
from nearfar.modalities.contents import Contents, Files
from nearfar.modalities.folder import extension_of, folders_in, is_passed_over, splits_in, unwrap, walk
from nearfar.modalities.keys import printable, unique
from nearfar.modalities.sheet import Sheet

if TYPE_CHECKING:
    from nearfar.contract import Skipped

Rows = NDArray[np.int64]
log = logging.getLogger("nearfar")

MANIFESTS = manifest.TABLES | {".parquet"}

_KINDS = {
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"), "image"),
    **dict.fromkeys((".wav", ".flac", ".ogg", ".mp3", ".m4a"), "audio"),
    **dict.fromkeys((".txt", ".md"), "text"),
}


@dataclass(frozen=True, kw_only=True)
class Listing:
    """N samples, named but not read.

    `labels` [N] are class numbers into `label_names`, -1 where a sample has none, and None where none has; `groups`
    [N] and `domains` [N] (into `domain_names`) likewise. Row i of `positives` and `negatives` goes with sample i.
    `rows` [N] say where each sample lies in these contents. `ignored` counts files by extension, and `refused` holds
    (key, reason) of what could not be listed.
    """

    name: str
    keys: Sequence[str]
    contents: Contents
    rows: Rows
    labels: Rows | None = None
    label_names: tuple[str, ...] = ()
    groups: Rows | None = None
    domains: Rows | None = None
    domain_names: tuple[str, ...] = ()
    positives: Contents | None = None
    negatives: Contents | None = None
    split: str | None = None
    ignored: Mapping[str, int] = field(default_factory=Counter)
    refused: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def bytes(self, i: int) -> bytes:
        """The content of sample i; raises OSError where there is none to read."""
        return self.contents.bytes(int(self.rows[i]))

    def path(self, i: int) -> Path | None:
        """The file that sample i is; None where it is a row of a container."""
        return self.contents.path(int(self.rows[i]))

    def probe(self, count: int) -> Rows:
        """At most `count` samples, evenly spread as far as reading them stays cheap."""
        near = self.contents.near(self.rows, count)
        order = np.argsort(self.rows, kind="stable")
        return np.sort(order[np.searchsorted(self.rows, near, sorter=order)])

    def take(self, rows: Rows) -> "Listing":
        """These samples only; class numbers and names stay."""

        def of(values: Rows | None) -> Rows | None:
            return None if values is None else values[rows]

        return replace(
            self,
            keys=[self.keys[i] for i in rows],
            rows=self.rows[rows],
            labels=of(self.labels),
            groups=of(self.groups),
            domains=of(self.domains),
        )

    @property
    def skipped(self) -> "list[Skipped]":
        """What could not be listed."""
        from nearfar.contract import Skipped

        return [Skipped(key, reason) for key, reason in self.refused]


def parse_data(data: str, *, builtins: Collection[str] = ()) -> tuple[str, str | None]:
    """`DATA` or `DATA:split` to the path and the split; what exists under the whole name is a path."""
    path = os.path.expanduser(data)
    if os.path.lexists(path) or data in builtins:
        return path, None
    # One letter before the colon is a drive; a slash after it makes it part of a path.
    parts = re.fullmatch(r"(?s)(..+):([^\\/:]+)", path)
    return (parts[1], parts[2]) if parts else (path, None)


def list_samples(
    data: str,
    *,
    extensions: frozenset[str],
    columns: Sequence[str],
    split: str | None = None,
    inline: bool = False,
    kind: str = "image",
    builtins: Collection[str] = (),
) -> Listing:
    """Find the samples of DATA: files with one of `extensions` (lower case), or rows with one of `columns`.

    `columns` are tried in their order, in any case; with `inline` a cell is the sample, else its path. Where DATA has
    splits and none is asked for, `train` is taken, or the only one there is; `all` takes all. Class numbers are the
    same for all splits of one DATA. `kind` and `builtins` only make messages clearer. Raises DataError.
    """
    path, asked = parse_data(data, builtins=builtins)
    asked = split or asked
    if os.path.isdir(path):
        shards = _manifests_in(path, extensions)
        found = _sheets(path, shards, columns, asked, inline) if shards else _folder(path, extensions, asked)
    else:
        files = _files(path, builtins)
        suffixes = {file.suffix.lower() for file in files}
        if len(suffixes) == 1 and suffixes <= MANIFESTS:
            found = _sheets(path, {"": files}, columns, asked, inline)
        elif len(files) == 1 and suffixes <= manifest.LISTS:
            splits.pick(path, [], asked)
            found = _of_sheet(_name(path, None), manifest.read_list(files[0], inline=inline))
        elif suffixes <= extensions:
            splits.pick(path, [], asked)
            found = _of_files(path, files)
        else:
            raise DataError(
                f"{printable(path)!r} is nothing that nearfar reads as {kind} data: give a folder (unpack archives "
                "first), a list of files (.txt), a manifest (.csv, .tsv, .jsonl, .parquet) or one of "
                f"{' '.join(sorted(extensions))}."
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
    if os.path.isdir(path):
        shards = _manifests_in(path, extensions)
        return _splits_of(shards) if shards else splits_in(unwrap(path))
    files = _files(path, ())
    if {file.suffix.lower() for file in files} <= MANIFESTS:
        return _splits_of({"": files})
    return []


def _folder(path: str, extensions: frozenset[str], asked: str | None) -> Listing:
    root = unwrap(path)
    existing = splits_in(root)
    chosen = splits.pick(path, existing, asked)
    start = root if chosen is None else os.path.join(root, chosen)
    found = walk(start, extensions)
    before = os.path.relpath(start, path).replace(os.sep, "/") + "/" if start != path else ""
    names = [before + name for name in found.names]
    depth = 1 if existing and chosen is None else 0  # the first level holds the splits
    levels = [name.split("/", depth + 1)[depth:] for name in found.names]
    classes = [level[0] if len(level) > 1 else None for level in levels]
    if existing:  # every split counts the same classes
        known = {name for split in existing for name in folders_in(os.path.join(root, split))}
    else:
        known = {name for name in classes if name is not None}
    order = sorted(known) if any(name is not None for name in classes) else []
    number: dict[str | None, int] = {name: i for i, name in enumerate(order)}
    return Listing(
        name=_name(path, chosen),
        keys=unique(printable(name) for name in names),
        contents=Files([os.path.join(path, name) for name in names]),
        rows=np.arange(len(names)),
        labels=np.array([number.get(name, -1) for name in classes], dtype=np.int64) if order else None,
        label_names=tuple(printable(name) for name in order),
        split=chosen,
        ignored=found.ignored,
        refused=tuple((printable(before) + key, reason) for key, reason in found.refused),
    )


def _manifests_in(path: str, extensions: frozenset[str]) -> dict[str, list[Path]]:
    """The shards of a folder without other samples, by the split that their names begin with ("" for none)."""
    for here in (path, os.path.join(path, "data")):
        try:
            names = sorted(name for name in os.listdir(here) if not is_passed_over(name))
        except OSError:
            return {}
        for suffix in (".parquet", ".csv", ".tsv", ".jsonl"):
            files = [Path(here, name) for name in names if extension_of(name) == suffix]
            if not files:
                continue
            if suffix != ".parquet" and (walk(path, extensions).names or not _by_split(files)):
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


def _splits_of(shards: Mapping[str, Sequence[Path]]) -> list[str]:
    if set(shards) != {""}:
        return list(shards)
    files = shards[""]
    if files[0].suffix.lower() == ".parquet":
        return parquet.split_names(files)
    return list(dict.fromkeys(name for file in files for name in manifest.split_names(file)))


def _sheets(
    path: str, shards: Mapping[str, Sequence[Path]], columns: Sequence[str], asked: str | None, inline: bool
) -> Listing:
    files = [file for some in shards.values() for file in some]
    read = parquet.read if files[0].suffix.lower() == ".parquet" else manifest.read
    existing = _splits_of(shards)
    chosen = splits.pick(path, existing, asked)
    by_file = set(shards) != {""}
    sheet = read(shards[chosen] if by_file and chosen is not None else files, columns, inline=inline)
    found = _of_sheet(_name(path, chosen), sheet)
    if chosen is None or by_file:
        return replace(found, split=chosen)
    wanted = [str(value or "").strip() == chosen for value in sheet.cells["split"]]
    return replace(found.take(np.flatnonzero(wanted)), split=chosen)


def _of_sheet(name: str, sheet: Sheet) -> Listing:
    numbers, names = coding.encode(sheet.cells.get("label", ()), sheet.class_names)
    domains, domain_names = coding.encode(sheet.cells.get("domain", ()))
    return Listing(
        name=name,
        keys=sheet.keys,
        contents=sheet.contents,
        rows=np.arange(len(sheet.keys)),
        labels=numbers,
        label_names=names,
        groups=coding.groups(sheet.cells.get("group", ())),
        domains=domains,
        domain_names=domain_names,
        positives=sheet.pairs.get("positive"),
        negatives=sheet.pairs.get("negative"),
        refused=tuple(sheet.refused),
    )


def _of_files(path: str, files: Sequence[Path]) -> Listing:
    return Listing(
        name=_name(path, None),
        keys=unique(printable(file.name) for file in files),
        contents=Files([os.fspath(file) for file in files]),
        rows=np.arange(len(files)),
    )


def _files(path: str, builtins: Collection[str]) -> list[Path]:
    """The file, or the files that a pattern such as `data/*.parquet` matches. Raises DataError where none is."""
    if os.path.exists(path):
        return [Path(path)]
    matches = [Path(name) for name in sorted(glob.glob(path, recursive=True)) if os.path.isfile(name)]
    if matches:
        return matches
    folder, name = os.path.split(path.rstrip("/\\"))
    try:
        near = [entry for entry in os.listdir(folder or ".") if not is_passed_over(entry)]
    except OSError:
        raise DataError(f"No file or folder {printable(path)!r}: there is no folder {printable(folder)!r}.") from None
    close = difflib.get_close_matches(name, [*near, *(builtins if not folder else ())], n=3)
    shown = " or ".join(repr(printable(os.path.join(folder, entry))) for entry in close)
    hint = f"Did you mean {shown}?" if close else f"{printable(os.path.abspath(folder or '.'))!r} holds no such name."
    raise DataError(f"No file or folder {printable(path)!r}. {hint}")


def _name(path: str, split: str | None) -> str:
    base = printable(os.path.basename(os.path.abspath(path)))
    return base if split is None else f"{base}:{split}"


def _nothing(path: str, found: Listing, kind: str) -> str:
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
