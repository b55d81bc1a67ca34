"""Rows of tables, of whatever kind of file, as samples: the columns' names say what each is for."""

import itertools
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nearfar.data.columns import (
    MAY_BE_SPLITS,
    MORE_NEGATIVES,
    PAIRS,
    ROLES,
    SCORES,
    content_column,
    find_column,
    is_row_number,
    named_column,
    shown,
)
from nearfar.data.contents import Cells, Contents, Files, Joined, Nothing, located
from nearfar.data.keys import folder_of, keys_of, unique
from nearfar.data.sample_rows import SampleRows
from nearfar.data.splits import are_splits
from nearfar.data.strings import Rows, Strings, indices
from nearfar.data.table_file import Request, TableFile
from nearfar.data.values import DictionaryBuilder, encode, strings
from nearfar.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("nearfar")

_LOOKED_AT = 1000
_FILES_TRIED, _FOLDERS_TRIED = 16, 1000
_SAMPLES = ("content", *PAIRS, *MORE_NEGATIVES)
"""What a column of samples is for."""


def read_tables(tables: Sequence[TableFile], request: Request) -> SampleRows:
    """The rows of all tables. A row without a sample is refused; raises DataError where no column holds samples.

    Keys are the paths as written, or `file#row` where cells or rows are the samples themselves.
    """
    plans = [_plan(table, request) for table in tables]
    stored: dict[str, Contents] = {}
    for purpose in _SAMPLES:
        if all(purpose in plan for plan in plans):
            name = tables[0].names[plans[0][purpose]]
            if (found := type(tables[0]).stored(tables, name, request)) is not None:
                stored[purpose] = found
    parts = [_read(table, plan, request, stored) for table, plan in zip(tables, plans, strict=True)]
    contents = {purpose: stored.get(purpose) or _contents(parts, purpose, request.inline) for purpose in _SAMPLES}
    starts = np.cumsum([0, *(part.count for part in parts)])
    first, label = tables[0], plans[0].get("label")
    read = {find_column(first.names, [name]) for name in request.further or ()}
    others = {at for at, name in enumerate(first.names) if name not in read} - set(plans[0].values())
    if request.columns and label is None and others:
        shown_names = shown([first.names[i] for i in sorted(others)])
        log.info("%s: no column is named as labels are; %s are passed over (--label-column)", first.name, shown_names)
    groups = getattr(contents["content"], "groups", None)
    return SampleRows(
        keys=unique(Strings.joined([part.keys for part in parts])),
        contents=contents["content"],
        rows=np.concatenate([part.kept + start for part, start in zip(parts, starts, strict=False)]),
        columns={
            role: _joined([(part.roles.get(role), part.kept) for part in parts])
            for role in (*ROLES, "score")
            if any(role in part.roles for part in parts)
        },
        class_names=None if label is None else first.class_names(label),
        label_column=None if label is None else first.names[label],
        many_classes=bool(request.columns),
        pairs={purpose: contents[purpose] for purpose in _SAMPLES[1:] if len(contents[purpose])},
        table=None if request.further == () else _further(parts, every=request.further is None),
        about=_further(parts, every=False) if request.about else None,
        shards=groups,
        size=0 if groups is None else sum(table.file.stat().st_size for table in tables),
        refused=[one for part in parts for one in part.refused],
    )


def splits_of_tables(tables: Sequence[TableFile]) -> list[str]:
    """The splits that tables or their rows say they belong to, in order of appearance."""
    found: dict[str, None] = {}
    for table in tables:
        if table.split is not None:
            found[table.split] = None
        elif (name := _split_column(table)) is not None:
            column = encode(table.read([list(table.names).index(name)]).cells[0])
            found |= dict.fromkeys([] if column is None else column.dictionary.to_pylist())
    return list(found)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What was read of one table of `count` rows, of which `kept` can be used."""

    name: str
    count: int
    kept: Rows
    folder: str
    keys: Strings
    cells: dict[str, Strings]
    roles: "dict[str, pa.DictionaryArray]"
    further: "dict[str, pa.Array]"
    refused: list[tuple[str, str]]


def _plan(table: TableFile, request: Request) -> dict[str, int]:
    """Where the column for each purpose stands."""
    ignored = _ignored(table, request)
    names = [name for name in table.names if name not in ignored]
    wanted = {role: find_column(names, known) for role, known in ROLES.items()}
    wanted["split"] = None if (split := _split_column(table)) in ignored else split
    wanted["label"] = wanted["label"] or next((name for name in table.classes if name in names), None)
    wanted |= {purpose: find_column(names, [purpose]) for purpose in PAIRS}
    if request.recognise is not None:
        head = table.head(_LOOKED_AT)
        wanted |= request.recognise({name: head.get(name, []) for name in names})
    if wanted["positive"] is not None:
        wanted["score"] = wanted.get("score") or find_column(names, SCORES)
    if request.columns and wanted.get("content") is None:
        wanted["content"] = content_column(table.name, names, request.columns)
    said = {
        "label": (request.label_column, request.labels_in),
        "group": (request.group_column, request.groups_in),
        "domain": (request.domain_column, request.domains_in),
    }
    for role, (asked, usual) in said.items():
        if asked is not None:
            wanted[role] = named_column(table.name, names, asked, f"for the {role}s")
        elif usual is not None:
            wanted[role] = find_column(names, [usual]) or wanted[role]
    found = {purpose: list(table.names).index(name) for purpose, name in wanted.items() if name is not None}
    _check_once(table, found.values())
    return found


def _ignored(table: TableFile, request: Request) -> set[str]:
    """The columns that are as if they were not there."""
    asked = {named_column(table.name, table.names, name, "to ignore") for name in request.ignore_columns}
    return asked | {name for one in request.ignored if (name := find_column(table.names, [one])) is not None}


def _split_column(table: TableFile) -> str | None:
    """The column of splits, by its name; or by names that may mean other things, where its cells are splits."""
    if (name := find_column(table.names, ROLES["split"])) is not None:
        return name
    name = find_column(table.names, MAY_BE_SPLITS)
    cells = [] if name is None else table.head(_LOOKED_AT).get(name, [])
    return name if are_splits([text for cell in cells if (text := cell.strip())]) else None


def _check_once(table: TableFile, at: Iterable[int]) -> None:
    """Raise DataError where one of these columns stands twice."""
    names = list(table.names)
    for i in at:
        if names.count(names[i]) > 1:
            raise DataError(f"{table.name!r} has the column {names[i]!r} twice: rename one of them.")


def _read(table: TableFile, plan: dict[str, int], request: Request, stored: dict[str, Contents]) -> _Part:
    names = list(table.names)
    needed = {purpose: at for purpose, at in plan.items() if purpose not in stored}
    ignored = _ignored(table, request)
    left = [i for i, name in enumerate(names) if name not in ignored]
    if request.further is None:
        others = [i for i in left if i not in plan.values() and not is_row_number(names[i])]
    else:
        known = [names[i] for i in left]
        others = [names.index(name) for one in request.further if (name := find_column(known, [one])) is not None]
        if request.about:
            head = table.head(1)  # has nothing of columns of bytes and of lists
            others += [i for i in left if i not in (*others, *plan.values()) and _is_plain(names, i, head)]
    at = sorted({*needed.values(), *others})
    _check_once(table, others)
    found = table.read(at)
    count = len(found.numbers)
    columns = dict(zip(at, found.cells, strict=True))
    cells = {purpose: Strings.of_column(columns[at]) for purpose, at in needed.items() if purpose in _SAMPLES}
    folder = folder_of(table.file)
    if not request.inline:
        cells = {purpose: _in_subfolder(names, folder, table.name) for purpose, names in cells.items()}
    roles = {role: encode(table.plain(columns[at])) for role, at in needed.items() if role not in _SAMPLES}
    for role, column in roles.items():
        if column is None or column.null_count == len(column) > 0:
            what = "lists or structures" if column is None else "nothing"
            log.warning("%s: column %r holds %s: not used", table.name, names[plan[role]], what)
    if table.split is not None:
        roles["split"] = DictionaryBuilder([table.split]).finish().take(indices(np.zeros(count, dtype=np.int64)))
    refused = [(f"{table.before}{number}", reason) for number, reason in found.refused]
    kept = np.arange(count)
    if "content" in cells:
        empty = cells["content"].matching(r"^\s*$")
        damaged = np.zeros(count, dtype=bool) if request.inline else cells["content"].matching(r"\x00")
        for row in np.flatnonzero(empty | damaged).tolist():
            reason = "empty cell" if empty[row] else "a path with a NUL character"
            refused.append((f"{table.before}{found.numbers[row]}", reason))
        kept = np.flatnonzero(~(empty | damaged))
    if "content" in cells and not request.inline:
        keys = keys_of(cells["content"].take(kept), folder)
    else:
        keys = Strings.of(f"{table.before}{number}" for number in found.numbers[kept].tolist())
    return _Part(
        name=table.name,
        count=count,
        kept=kept,
        folder=folder,
        keys=keys,
        cells=cells,
        roles={role: column for role, column in roles.items() if column is not None and column.null_count < count},
        further={names[i]: table.plain(columns[i]).take(indices(kept)) for i in others},
        refused=refused,
    )


def _is_plain(names: Sequence[str], at: int, head: Mapping[str, Sequence[str]]) -> bool:
    """Whether a column that stands there once holds plain values and is no numbering of rows."""
    return names.count(names[at]) == 1 and bool(head.get(names[at])) and not is_row_number(names[at])


def _in_subfolder(names: Strings, folder: str, table: str) -> Strings:
    """Names of files, those of one folder beside the manifest with it in front where they lie there and only there."""
    some = list(itertools.islice((name for name in names if name.strip()), _FILES_TRIED))
    if not some or any(os.path.exists(located(name, folder)) for name in some):
        return names
    try:
        with os.scandir(folder or ".") as entries:
            inner = sorted(entry.name for entry in itertools.islice(entries, _FOLDERS_TRIED) if entry.is_dir())
    except OSError:
        return names
    for here in inner:
        if 2 * sum(os.path.exists(os.path.join(folder, here, name)) for name in some) > len(some):
            log.info("%s: its files lie in %s%s", table, here, os.sep)
            return Strings.of(f"{here}/{name}" if name.strip() else name for name in names)
    return names


def _contents(parts: Sequence[_Part], purpose: str, inline: bool) -> Contents:
    """The cells of a column of samples of all parts, missing where a part has no such column."""
    if not any(purpose in part.cells and part.cells[purpose].any for part in parts):
        return Nothing(sum(part.count for part in parts) if purpose == "content" else 0)
    found = [part.cells.get(purpose) or Strings.empty(part.count) for part in parts]
    each = [Cells(cells) if inline else Files(cells, part.folder) for cells, part in zip(found, parts, strict=True)]
    return each[0] if len(each) == 1 else Joined(each)


def _joined(parts: "Sequence[tuple[pa.DictionaryArray | None, Rows]]") -> "pa.DictionaryArray":
    """One dictionary-encoded column of those of all parts, their kept rows only, null where a part has none."""
    import pyarrow as pa

    found = []
    for column, kept in parts:
        if column is None:
            found.append(pa.nulls(len(kept), pa.large_string()))
        else:
            found.append(column.take(indices(kept)).dictionary_decode())
    return pa.concat_arrays(found).dictionary_encode()


def _further(parts: Sequence[_Part], *, every: bool) -> "pa.Table":
    """The further columns of all parts, missing where a part has no such column; of two types, they are texts.

    Where they are the samples (`every`), parts with other columns are of another data set: raises DataError.
    """
    import pyarrow as pa

    names = list(dict.fromkeys(name for part in parts for name in part.further))
    for part in parts:
        if every and (lacking := set(names) - part.further.keys()):
            raise DataError(f"{part.name!r} lacks the column {min(lacking)!r} of the others: give one data set.")
    columns = {}
    for name in names:
        kinds = {part.further[name].type for part in parts if name in part.further}
        kind = kinds.pop() if len(kinds) == 1 else pa.large_string()
        columns[name] = pa.chunked_array(
            [
                pa.nulls(len(part.kept), kind)
                if name not in part.further
                else part.further[name]
                if part.further[name].type == kind
                else strings(part.further[name])
                for part in parts
            ],
            kind,
        )
    return pa.table(columns) if columns else pa.table({})
