"""Samples as a reader found them: keys, labels, further columns, and where the content of each lies."""

import os
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.contract.reading import Unreadable
from nearfar.data.columns import MORE_NEGATIVES
from nearfar.data.contents import Contents, Joined, reason_of
from nearfar.data.keys import printable
from nearfar.data.strings import Strings, StringsBuilder, indices
from nearfar.data.values import plain

if TYPE_CHECKING:
    import pyarrow as pa

    from nearfar.contract import Skipped

Rows = NDArray[np.int64]
Content = str | bytes | NDArray[Any]
"""A file's path, bytes, or an array."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """N samples of a data set, found but not read.

    `labels` [N] are class numbers into `label_names`, -1 where a sample has none, and None where none has;
    `label_column` is the column of a table that they stand in. `groups`
    [N] and `domains` [N] (into `domain_names`) likewise. `scores` [N] say how near sample and positive are, NaN where
    nothing is said. Row i of `positives`, `negatives` and each of `more_negatives` goes with sample i.
    `rows` [N] say where each sample lies in these contents. `shards` [N] number the containers that samples are read
    from, rising in reading order, where another order costs more; all contents are `size` bytes then. `table` holds the
    further columns [N rows] that the modality asked for, `about` those that are kept beside vectors. `origin` is the
    path of DATA. `ignored` counts files by extension, and `refused` holds (key, reason) of what could not be listed.
    """

    name: str
    keys: Strings
    contents: Contents
    rows: Rows
    labels: Rows | None = None
    label_names: tuple[str, ...] = ()
    label_column: str | None = None
    groups: Rows | None = None
    domains: Rows | None = None
    domain_names: tuple[str, ...] = ()
    scores: NDArray[np.float32] | None = None
    positives: Contents | None = None
    negatives: Contents | None = None
    more_negatives: tuple[Contents, ...] = ()
    split: str | None = None
    shards: Rows | None = None
    size: int = 0
    table: "pa.Table | None" = None
    about: "pa.Table | None" = None
    origin: str = ""
    ignored: Mapping[str, int] = field(default_factory=Counter)
    refused: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def bytes(self, i: int) -> bytes:
        """The content of sample i; raises OSError where there is none to read."""
        return self.contents.bytes(int(self.rows[i]))

    def array(self, i: int) -> "NDArray[Any] | None":
        """Sample i where it is an array `[H, W]` or `[H, W, C]` of numbers; None where it is bytes."""
        return self.contents.array(int(self.rows[i]))

    def path(self, i: int) -> str | None:
        """The file that sample i is; None where it is a row of a container."""
        return self.contents.path(int(self.rows[i]))

    def given(self, i: int) -> "Content":
        """What a decoder gets of sample i: its array, its file's path, or its bytes; raises Unreadable."""
        try:
            if (array := self.array(i)) is not None:
                return array
            path = self.path(i)
            return self.bytes(i) if path is None else path
        except OSError as error:
            raise Unreadable(reason_of(error)) from None

    def probe(self, count: int) -> Rows:
        """At most `count` samples, evenly spread as far as reading them stays cheap."""
        near = self.contents.near(self.rows, count)
        order = np.argsort(self.rows, kind="stable")
        return np.sort(order[np.searchsorted(self.rows, near, sorter=order)])

    def take(self, rows: Rows) -> "Samples":
        """These samples only; class numbers and names stay."""

        def of(values: Rows | None) -> Rows | None:
            return None if values is None else values[rows]

        return replace(
            self,
            keys=self.keys.take(rows),
            rows=self.rows[rows],
            labels=of(self.labels),
            groups=of(self.groups),
            domains=of(self.domains),
            scores=None if self.scores is None else self.scores[rows],
            shards=of(self.shards),
            table=None if self.table is None else self.table.take(indices(rows)),
            about=None if self.about is None else self.about.take(indices(rows)),
        )

    def columns_of(self, rows: Rows) -> "Mapping[str, pa.Array]":
        """The columns [n] of `about` of some samples, by name."""
        if self.about is None:
            return {}
        some = self.about.take(indices(rows))
        return {name: plain(some[name].combine_chunks()) for name in some.column_names}

    @property
    def skipped(self) -> "list[Skipped]":
        """What could not be listed."""
        from nearfar.contract import Skipped

        return [Skipped(key, reason) for key, reason in self.refused]


def with_others(samples: Samples) -> tuple[Samples, Rows | None, Rows | None]:
    """The samples and behind them their positives and negatives, each once; and where [N] those of each sample stand.

    Of several negatives [N, K]. One that is itself one of the samples is not listed again; a sample without one is its
    own. None stands for a column that there is not.
    """
    columns = [("positive", samples.positives), ("negative", samples.negatives)]
    columns += list(zip(MORE_NEGATIVES, samples.more_negatives, strict=False))
    n = len(samples)
    place: dict[str, int] = {}
    for i in range(n):
        if (path := samples.path(i)) is not None:
            place[os.path.normpath(path)] = i
    found: dict[str, Rows] = {}
    parts: list[Contents] = [samples.contents]
    behind, keys = array("q"), StringsBuilder()
    for kind, contents in columns:
        if contents is None:
            continue
        before, partners = sum(map(len, parts)), np.arange(n)
        for i, row in enumerate(samples.rows.tolist()):
            if not contents.has(row):
                continue
            path = contents.path(row)
            name = f"{samples.keys[i]} {kind}" if path is None else os.path.normpath(path)
            partners[i] = place.setdefault(name, n + len(behind))
            if partners[i] == n + len(behind):
                behind.append(before + row)
                keys.append(printable(name))
        found[kind] = partners
        parts.append(contents)

    def longer(values: Rows | None, fill: int) -> Rows | None:
        return None if values is None else np.append(values, np.full(len(behind), fill, dtype=np.int64))

    whole = replace(
        samples,
        keys=Strings.joined([samples.keys, keys.finish()]),
        contents=Joined(parts),
        rows=np.append(samples.rows, np.array(behind, dtype=np.int64)),
        labels=longer(samples.labels, -1),
        groups=longer(samples.groups, -1),
        domains=longer(samples.domains, -1),
        scores=None if samples.scores is None else np.append(samples.scores, np.full(len(behind), np.nan, np.float32)),
        about=None if samples.about is None else samples.about.take(_with_nulls(n, len(behind))),
        shards=None,
        positives=None,
        negatives=None,
        more_negatives=(),
    )
    negatives = [rows for kind, rows in found.items() if kind != "positive"]
    several = np.stack(negatives, axis=1) if len(negatives) > 1 else negatives[0] if negatives else None
    return whole, found.get("positive"), several


def _with_nulls(count: int, more: int) -> "pa.Array":
    """Row numbers, and behind them nulls: rows that say nothing."""
    import pyarrow as pa

    return pa.concat_arrays([indices(np.arange(count)), pa.nulls(more, pa.int64())])


def data_name(path: str, split: str | None) -> str:
    """What messages call the samples of a path."""
    base = printable(os.path.basename(os.path.abspath(path)))
    return base if split is None else f"{base}:{split}"
