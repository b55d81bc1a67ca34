"""DATA as the user gives it -> samples: keys, labels, further columns, and where the content of each lies.

DATA is a folder, a list of files, a table or manifest, tar files, arrays, several of one kind, a data set of Hugging
Face, or a single file; `DATA:split` picks a split.
"""

import itertools
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nearfar.data import splits
from nearfar.data.columns import PAIRS, ROLES
from nearfar.data.contents import Files
from nearfar.data.domain_folders import domains_in, list_domains, splits_of_domains
from nearfar.data.folder import extension_of, is_passed_over, list_folder, splits_in, unwrap, walk
from nearfar.data.keys import printable, unique
from nearfar.data.kinds import BY_EXTENSION
from nearfar.data.location import files_of, is_hub, parse_data
from nearfar.data.name_pattern import groups_by, is_pattern
from nearfar.data.sample_rows import SampleRows
from nearfar.data.samples import Samples, data_name
from nearfar.data.table_file import Request, TableFile
from nearfar.errors import DataError

__all__ = ["Samples", "open_samples", "open_tables", "parse_data", "splits_of"]

log = logging.getLogger("nearfar")

_LISTS = frozenset({".txt", ".lst"})
_IN_FOLDERS = (".parquet", ".tar", ".csv", ".tsv", ".jsonl")
_BY_NAME = frozenset({".csv", ".tsv", ".jsonl"})
"""Such files are one data set only where their names say splits: others may be about anything."""

_ROWS = {
    **dict.fromkeys((".csv", ".tsv"), "delimited"),
    **dict.fromkeys((".npy", ".npz"), "arrays"),
    **{suffix: suffix for suffix in (".jsonl", ".parquet", ".tar")},
}
"""Files that hold or name many samples, by extension."""


def open_samples(
    data: str,
    *,
    extensions: frozenset[str] = frozenset(),
    columns: Sequence[str] = (),
    split: str | None = None,
    inline: bool = False,
    label_column: str | None = None,
    labels_in: str | None = None,
    group_column: str | None = None,
    groups_in: str | None = None,
    domain_column: str | None = None,
    domains_in: str | None = None,
    source_domain: str | None = None,
    ignore_columns: Sequence[str] = (),
    ignored: Sequence[str] = (),
    further: Sequence[str] | None = (),
    about: bool = False,
    recognise: Callable[[Mapping[str, Sequence[str]]], Mapping[str, str | None]] | None = None,
    kind: str = "image",
    builtins: Collection[str] = (),
) -> Samples:
    """Find the samples of DATA: files with one of `extensions` (lower case), or rows with one of `columns`.

    `columns` are tried in their order, in any case; with `inline` a cell is the sample, else its path; without any the
    row itself is the sample. Labels come from `label_column`, which must be there, else from `labels_in` where there is
    one, else from the usual names, and groups likewise, or from names of files where `{group}` stands in a pattern for
    these (see `name_pattern`); domains as groups, or from the first level of folders (see `domain_folders`), where one
    of these may have to be the `source_domain`.
    `ignore_columns`, which must be there, and those `ignored` where there are any are as if they were not. The
    `further` columns are kept in `Samples.table`, None for all that have no other meaning; `about` and `recognise` are
    as for `Request`. Where DATA has splits and none is asked for, `train` is taken, or the only one there is; `all`
    takes all. Class numbers are the same for all splits of one DATA. `kind` and `builtins` only make messages clearer.
    Raises DataError, and MissingExtra for a data set of Hugging Face without the package for them.
    """
    path, asked = parse_data(data, builtins=builtins)
    asked = split or asked
    request = Request(
        extensions=extensions,
        columns=columns,
        inline=inline,
        label_column=label_column,
        labels_in=labels_in,
        group_column=None if is_pattern(group_column) else group_column,
        groups_in=groups_in,
        domain_column=domain_column,
        domains_in=domains_in,
        ignore_columns=ignore_columns,
        ignored=ignored,
        further=further,
        about=about,
        recognise=recognise,
    )
    found = _open(path, asked, request, kind, builtins, source_domain)
    if not len(found):
        raise DataError(_nothing(path, found, kind))
    named = group_column or groups_in
    if named is not None and is_pattern(named):
        found = replace(found, groups=groups_by(named, found.keys, found.name, must=group_column is not None))
    elif group_column is not None and found.groups is None:
        raise DataError(f"{found.name!r} has no groups in a column {group_column!r}: leave out --group-column.")
    if domain_column is not None and found.domains is None:
        raise DataError(f"{found.name!r} has no domains in a column {domain_column!r}: leave out --domain-column.")
    if found.ignored:
        counts = ", ".join(f"{n} {extension}" for extension, n in sorted(found.ignored.items()))
        log.info("%s: other files are passed over (%s)", found.name, counts)
    return replace(found, origin=path)


def splits_of(data: str, *, extensions: frozenset[str] = frozenset(), columns: Sequence[str] = ("path",)) -> list[str]:
    """The names of the splits of DATA (a split after the colon is left aside); an empty list where it has none."""
    path, _ = parse_data(data)
    request = Request(extensions=extensions, columns=columns)
    if is_hub(path):
        from nearfar.data import hub

        return hub.split_names(path)
    if os.path.isdir(path):
        files = _files_in(path, request)
        if files.all:
            return list(files.by_split) or _row_splits(files.all, request)
        domains = domains_in(unwrap(path))
        return splits_of_domains(domains) if domains else splits_in(unwrap(path))
    found = files_of(path)
    return _row_splits(found, request) if are_rows(found) else []


def open_tables(files: Sequence[Path], request: Request) -> list[TableFile]:
    """Files with rows and columns, or with arrays, to be read by column; raises DataError for a damaged one."""
    suffix = files[0].suffix.lower()
    if suffix == ".parquet":
        from nearfar.data.parquet import Parquet

        return [Parquet(file) for file in files]
    if suffix == ".jsonl":
        from nearfar.data.json_lines import JsonLines

        return [JsonLines(file) for file in files]
    if suffix in (".npy", ".npz"):
        from nearfar.data.arrays import open_arrays

        return [table for file in files for table in open_arrays(file, request)]
    from nearfar.data.delimited import Delimited

    known = [
        request.label_column,
        request.labels_in,
        request.group_column,
        request.domain_column,
        *request.columns,
        *PAIRS,
        *itertools.chain(*ROLES.values()),
    ]
    return [Delimited(file, [name.lower() for name in known if name is not None]) for file in files]


@dataclass(frozen=True)
class _Files:
    """The files of a folder that are one data set, and those of each split where their names say it."""

    all: Sequence[Path] = ()
    by_split: Mapping[str, Sequence[Path]] = field(default_factory=dict)


def _open(
    path: str, asked: str | None, request: Request, kind: str, builtins: Collection[str], source_domain: str | None
) -> Samples:
    if is_hub(path):
        from nearfar.data import hub
        from nearfar.data.tabular import read_tables

        chosen = splits.pick(path, hub.split_names(path), asked)
        rows = read_tables(hub.open_hub(path, chosen, request), request)
        return rows.samples(data_name(path, chosen), chosen)
    if os.path.isdir(path):
        found = _files_in(path, request)
        if not found.all:
            domains = domains_in(unwrap(path), source_domain)
            if domains:
                return list_domains(path, domains, request.extensions, asked)
            return list_folder(path, request.extensions, asked)
        if not found.by_split:
            return _take(path, _rows(found.all, request), asked)
        chosen = splits.pick(path, list(found.by_split), asked)
        files = found.all if chosen is None else found.by_split[chosen]
        return replace(_rows(files, request).samples(data_name(path, chosen)), split=chosen)
    files = files_of(path, builtins)
    suffixes = {file.suffix.lower() for file in files}
    if are_rows(files):
        return _take(path, _rows(files, request), asked)
    if len(files) == 1 and suffixes <= _LISTS and request.columns:
        splits.pick(path, [], asked)
        return _list(files[0], request).samples(data_name(path, None))
    if suffixes <= request.extensions:
        splits.pick(path, [], asked)
        return Samples(
            name=data_name(path, None),
            keys=unique(printable(file.name) for file in files),
            contents=Files([os.fspath(file) for file in files]),
            rows=np.arange(len(files)),
        )
    forms = [
        "a folder (unpack archives first, but for plain .tar files)",
        "a list of files (.txt)",
        "a manifest (.csv, .tsv, .jsonl, .parquet)",
        "arrays (.npy, .npz)",
        f"one of {' '.join(sorted(request.extensions))}",
    ]
    if not request.columns:
        forms = ["a table (.csv, .tsv, .jsonl, .parquet, .npy, .npz)", "a folder of tables that are named as splits"]
    raise DataError(
        f"{printable(path)!r} is nothing that nearfar reads as {kind} data: give "
        f"{', '.join(forms[:-1])} or {forms[-1]}."
    )


def are_rows(files: Sequence[Path]) -> bool:
    """Whether files hold or name many samples each, and are all of one kind."""
    return (
        len({_ROWS.get(file.suffix.lower(), file.suffix) for file in files}) == 1 and files[0].suffix.lower() in _ROWS
    )


def _rows(files: Sequence[Path], request: Request) -> SampleRows:
    if files[0].suffix.lower() == ".tar":
        from nearfar.data import tar

        return tar.read(files, request)
    from nearfar.data.tabular import read_tables

    return read_tables(open_tables(files, request), request)


def _take(path: str, rows: SampleRows, asked: str | None) -> Samples:
    """The rows of the split that is meant."""
    chosen = splits.pick(path, rows.splits, asked)
    return rows.samples(data_name(path, chosen), chosen)


def _row_splits(files: Sequence[Path], request: Request) -> list[str]:
    """The splits that rows say they belong to, in order of appearance."""
    if files[0].suffix.lower() == ".tar":
        return _rows(files, request).splits
    from nearfar.data.tabular import splits_of_tables

    return splits_of_tables(open_tables(files, request))


def _files_in(path: str, request: Request) -> _Files:
    """The files with rows in a folder that has no other samples, or in the folders of its splits."""
    found = _files_directly_in(path, request)
    if found.all:
        return found
    root = unwrap(path)
    by_split = {name: _files_directly_in(os.path.join(root, name), request).all for name in splits_in(root)}
    if not all(by_split.values()):  # the splits hold files that are samples
        return _Files()
    return _Files([file for some in by_split.values() for file in some], by_split)


def _files_directly_in(path: str, request: Request) -> _Files:
    for here in (path, os.path.join(path, "data")):
        try:
            names = sorted(name for name in os.listdir(here) if extension_of(name) in _IN_FOLDERS)
        except OSError:
            return _Files()
        for suffix in _IN_FOLDERS:
            named = [Path(here, name) for name in names if extension_of(name) == suffix and not is_passed_over(name)]
            files = [file for file in named if file.is_file()]
            if not files or (suffix != ".parquet" and walk(path, request.extensions).names):
                continue
            said = splits.files_of_splits([file.stem for file in files])
            by_split: dict[str, list[Path]] = {}
            for file in files:
                if file.stem in said:
                    by_split.setdefault(said[file.stem], []).append(file)
            if by_split:
                return _Files([file for some in by_split.values() for file in some], by_split)
            if suffix not in _BY_NAME:
                return _Files(files)
    return _Files()


def _list(file: Path, request: Request) -> SampleRows:
    """The samples that a list names, or its lines where texts are samples."""
    from nearfar.data.path_list import PathList
    from nearfar.data.tabular import read_tables

    found = PathList(file, request.columns[0])
    if not request.inline and (line := found.first_without(request.extensions)) is not None:
        raise DataError(
            f"{printable(str(file))!r} is no list of files: none of its lines has one of the endings "
            f"{' '.join(sorted(request.extensions)[:8])} ..., the first is {printable(line)[:80]!r}."
        )
    return read_tables([found], request)


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
    others = [other for extension, _ in common if (other := BY_EXTENSION.get(extension)) not in (None, f"{kind}s")]
    return f"{message}, which are {others[0]}." if others else f"{message}."
