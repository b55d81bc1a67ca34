"""DATA to samples of two sides, or of one where it holds no other."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nearfar import given
from nearfar.contract import Modality, Opening, Rows
from nearfar.data.contents import Cells, joined
from nearfar.data.glance import glance
from nearfar.data.keys import unique
from nearfar.data.reader import open_samples
from nearfar.data.samples import Samples
from nearfar.errors import ConfigError, DataError
from nearfar.modalities import registry
from nearfar.modalities.opening import open_source, options_of
from nearfar.modalities.pairs.columns import columns_of, head_of, lists_of
from nearfar.modalities.pairs.options import names_of, of_side, read_kinds, read_templates, write_sides
from nearfar.modalities.pairs.source import PairSource, SideSource

_KNOWN = ("labels_in", "groups_in", "domains_in", "ignored")
"""What an encoder's config says of columns: those of pairs, not of data of one side."""


def open_pairs(data: str, how: Opening, *, able: Sequence[str]) -> PairSource | SideSource:
    """The pairs of DATA, or the items of its only side; `able` are the kinds of sides. Raises DataError."""
    config = how.config or {}
    head = {} if given.is_given(data) else head_of(data)
    kinds = kinds_of(data, config.get("sides") or how.options.sides, able)
    names, sides = names_of(kinds), [registry.load(kind) for kind in kinds]
    columns = columns_of(data, head, names, sides, None if how.config else how.options.side_columns)
    options = [
        options_of(side, config["towers"][i]) if how.config else of_side(side.Options, how.options)
        for i, side in enumerate(sides)
    ]
    if not all(columns):
        side = _only_side(data, columns, sides)
        named = {name: value for name, value in how.columns.items() if name not in _KNOWN}
        inner = open_source(sides[side], data, options=options[side], **named, **how.reading)
        return SideSource(inner, side, names, kind=sides[side], options=options[side])
    (first, _), *_ = _rows_of(data, 0, sides, columns, how.columns)
    others = _rows_of(data, 1, sides, columns, how.columns)
    return _paired(first, others, sides, options, names, columns, how.reading, read_templates(how.options.templates))


def kinds_of(data: str, asked: str | None, able: Sequence[str]) -> tuple[str, str]:
    """The kinds of the two sides: those asked for, else those that the data seems to hold; raises ConfigError."""
    if asked is not None:
        return read_kinds(asked, able)
    found = () if given.is_given(data) else glance(data).kind.sides
    if len(found) == 2:
        return read_kinds(",".join(found), able)
    raise ConfigError(
        f"It does not show of which kinds the two sides of {data!r} are: give --sides, such as --sides image,text, and "
        "where their columns have other names --side-columns image=NAME,text=NAME."
    )


def _only_side(data: str, columns: Sequence[Sequence[str]], sides: Sequence[Modality]) -> int:
    """The side of data that holds one alone."""
    there = [side for side, found in enumerate(columns) if found]
    if there:
        return there[0]
    if given.is_given(data):
        kind = registry.find(data)
        there = [i for i, side in enumerate(sides) if side.name == kind]
    else:
        glanced = glance(data)
        there = [i for i, side in enumerate(sides) if side.claims(glanced)]
    return there[0] if there else 0


def _rows_of(
    data: str, side: int, sides: Sequence[Modality], columns: Sequence[Sequence[str]], named: Mapping[str, Any]
) -> list[tuple[Samples, Rows]]:
    """The items of one side in DATA and the rows they stand in: of each of its columns, or the rows themselves."""
    kind, own = sides[side], columns[side]
    others = [name for i, some in enumerate(columns) for name in some if i != side]
    if not kind.columns:
        return [_items(data, kind, None, others, named)]
    return [_items(data, kind, name, [*others, *(one for one in own if one != name)], named) for name in own]


def _items(
    data: str, kind: Modality, column: str | None, others: Sequence[str], named: Mapping[str, Any]
) -> tuple[Samples, Rows]:
    """The items of one column, each text of a list one of its own."""
    lists = None if column is None or not kind.inline else lists_of(data, column)
    found = open_samples(
        data,
        extensions=kind.extensions,
        columns=() if column is None or lists is not None else (column,),
        inline=kind.inline,
        further=kind.further if lists is None else (),
        kind=kind.name,
        **{**named, "ignored": [*named.get("ignored", ()), *others]},
    )
    if lists is None:
        return found, found.rows
    texts = [lists[row] for row in found.rows.tolist()]
    keys = unique(key for key, own in zip(found.keys, texts, strict=True) for _ in own)
    counts = [len(own) for own in texts]
    items = Samples(
        name=found.name,
        keys=keys,
        contents=Cells([text for own in texts for text in own]),
        rows=np.arange(sum(counts)),
        origin=found.origin,
    )
    return items, np.repeat(found.rows, counts)


def _paired(
    first: Samples,
    others: Sequence[tuple[Samples, Rows]],
    sides: Sequence[Modality],
    options: Sequence[Any],
    names: Sequence[str],
    columns: Sequence[Sequence[str]],
    reading: Mapping[str, Any],
    templates: Sequence[str],
) -> PairSource:
    """Rows of both sides as samples: rows of one file of the first side are one sample of several items."""
    second = _joined([items for items, _ in others], columns[1])
    sample_of_row, leading = _samples_of_rows(first)
    rows = np.concatenate([rows for _, rows in others])
    whose = np.where(rows < len(sample_of_row), sample_of_row[np.minimum(rows, len(sample_of_row) - 1)], -1)
    order = np.lexsort((np.arange(len(rows)), rows, whose))
    order = order[whose[order] >= 0]
    again = np.bincount(sample_of_row[first.rows]) > 1
    first = first.take(leading)
    # Of a file in several rows, the key has the row's number behind it.
    keys = unique(key.rpartition("#")[0] if many else key for key, many in zip(first.keys, again.tolist(), strict=True))
    first = replace(first, keys=keys)
    lacking = np.setdiff1d(np.arange(len(leading)), whose)
    if len(lacking) == len(leading):
        raise DataError(f"No row of {first.name!r} has both sides, {' and '.join(names)}.")
    why = f"its {names[1]} is missing"
    refused = tuple((first.keys[row], why) for row in lacking.tolist())
    first = replace(first, positives=None, negatives=None, refused=(*first.refused, *refused))
    second = second.take(order)

    one = sides[0].source(first, options=options[0], **reading)
    other = sides[1].source(second, options=options[1], **reading)
    # A source may leave out rows of its own accord: what is left is known by where it lies.
    place = {row: i for i, row in enumerate(one.whole.rows.tolist())}
    offset = dict(zip(second.rows.tolist(), whose[order].tolist(), strict=True))
    before = first.rows.tolist()
    owners = np.array([place.get(before[offset[row]], -1) for row in other.whole.rows.tolist()], dtype=np.int64)
    if (owners < 0).any() or (np.diff(owners) < 0).any():
        kept = np.flatnonzero(owners >= 0)
        kept = kept[np.argsort(owners[kept], kind="stable")]
        other = sides[1].source(other.whole.take(kept), options=options[1], **reading)
        owners = owners[kept]
    starts = np.searchsorted(owners, np.arange(len(one.whole) + 1))
    told = {name: "+".join(own) for name, own, side in zip(names, columns, sides, strict=True) if side.columns}
    return PairSource(
        SideSource(one, 0, names, kind=sides[0], options=options[0]),
        SideSource(other, 1, names, kind=sides[1], options=options[1], apart=len(one.whole)),
        starts,
        columns=write_sides(told),
        templates=templates,
    )


def _samples_of_rows(first: Samples) -> tuple[Rows, Rows]:
    """[rows]: the sample that a row of the table belongs to, -1 for none; and the first of the samples of each."""
    numbers: dict[str, int] = {}
    found = np.full(int(first.rows.max()) + 1, -1, dtype=np.int64)
    leading = []
    for i, row in enumerate(first.rows.tolist()):
        name = first.path(i) or f"#{row}"
        if name not in numbers:
            numbers[name] = len(numbers)
            leading.append(i)
        found[row] = numbers[name]
    return found, np.array(leading, dtype=np.int64)


def _joined(parts: Sequence[Samples], columns: Sequence[str]) -> Samples:
    """The samples of several columns one after another, with the columns' names behind their keys."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.contents) for part in parts)]).tolist()
    keys = (f"{key} {column}" for part, column in zip(parts, columns, strict=True) for key in part.keys)
    return replace(
        parts[0],
        keys=unique(keys),
        contents=joined([part.contents for part in parts]),
        rows=np.concatenate([part.rows + start for part, start in zip(parts, starts, strict=False)]),
        labels=None,
        label_names=(),
        groups=None,
        domains=None,
        shards=None,
        positives=None,
        negatives=None,
        table=None,
        about=None,
        refused=(),
    )
