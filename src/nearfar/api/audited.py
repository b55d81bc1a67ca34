"""The parts of data under audit as one list of samples: their vectors, labels, cards, and the manifest of some."""

import csv
import io
import os
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar import files
from nearfar.api.judging import parts_of
from nearfar.api.sources import open_for, tell_unreadable, unreadable
from nearfar.contract import Card, Encoder, Rows, Skipped, Source
from nearfar.data.keys import guarded, printable
from nearfar.data.location import files_of
from nearfar.data.reader import open_tables
from nearfar.data.table_file import Request, TableFile
from nearfar.errors import ConfigError
from nearfar.evaluation.embedding import embed_source
from nearfar.inspection.audit.ranking import Ranking
from nearfar.modalities import registry
from nearfar.modalities.opening import splits

_TABLES = (".csv", ".tsv", ".jsonl", ".parquet")


class Audited:
    """The samples of one or two parts of data, numbered through."""

    def __init__(self, encoder: Encoder, sources: Sequence[Source], names: Sequence[str | None], name: str) -> None:
        self.sources = list(sources)
        self.name = name
        self.encoder_name = str(encoder.config.get("encoder", type(encoder).__name__))
        self._encoder = encoder
        self._names = list(names)
        self._starts = np.zeros(len(sources), dtype=np.int64)

    def embed(self) -> tuple[Tensor, NDArray[np.int64], NDArray[np.int64]]:
        """Vectors `[N, D]` of what can be read, ids `[N]` that are equal for equal content, and the part of each."""
        vectors, ids = [], []
        for at, source in enumerate(self.sources):
            some, rows = embed_source(self._encoder, source)
            self.sources[at] = source.take(rows)
            vectors.append(some)
            own = self.sources[at].ids
            ids.append(np.where(own < 0, own, own + int(at) * (2**32)))  # a row number is no content
        tell_unreadable(*self.sources)
        self._starts = np.cumsum([0, *map(len, vectors)])[:-1]
        parts = np.repeat(np.arange(len(vectors)), [len(one) for one in vectors])
        return torch.cat(vectors), np.concatenate(ids), parts

    def content(self, most: int) -> Tensor | None:
        """Vectors `[N, D]` of the input itself, of what `embed` has left; None for more than `most`, or without any."""
        if sum(map(len, self.sources)) > most:
            return None
        found = [source.content() for source in self.sources]
        widths = {None if one is None else one.shape[1] for one in found}
        there = [one for one in found if one is not None]
        fits = len(there) == len(found) and len(widths) == 1 and all(map(_as_many, there, self.sources))
        return torch.cat(there) if fits else None

    @cached_property
    def _ambiguous(self) -> bool:
        first, *others = (set(source.keys) for source in self.sources)
        return any(first & keys for keys in others)

    @property
    def skipped(self) -> list[Skipped]:
        """What could not be read."""
        return unreadable(*self.sources)

    @property
    def label_names(self) -> list[str]:
        """The classes of all parts."""
        return list(dict.fromkeys(name for source in self.sources for name in source.label_names))

    @property
    def labels(self) -> Rows | None:
        """Class numbers `[N]` into `label_names`, -1 for none; None where no sample has one."""
        if all(source.labels is None for source in self.sources):
            return None
        number = {name: i for i, name in enumerate(self.label_names)}
        found = []
        for source in self.sources:
            place = np.array([*(number[name] for name in source.label_names), -1], dtype=np.int64)
            found.append(np.full(len(source), -1) if source.labels is None else place[source.labels])
        return np.concatenate(found)

    def key(self, row: int) -> str:
        """The key of a sample, with its part in front where both parts have equal keys."""
        source, own = self._at(row)
        name = self._names[int(np.searchsorted(self._starts, row, side="right")) - 1]
        return f"{name}/{source.keys[own]}" if self._ambiguous else source.keys[own]

    def label_of(self, row: int) -> str | None:
        """The label of a sample by name."""
        source, own = self._at(row)
        labels = source.labels
        return None if labels is None or labels[own] < 0 else source.label_names[labels[own]]

    def card(self, row: int) -> Card:
        """What the page shows of a sample."""
        source, own = self._at(row)
        return source.cards(np.array([own]))[0]

    def defects(self) -> list[Skipped]:
        """What is wrong with samples that can be read, by their `key`, or with columns."""
        found = []
        for start, source in zip(self._starts.tolist(), self.sources, strict=True):
            place = {key: row for row, key in enumerate(source.keys)}
            for one in source.defects(np.arange(len(source))):
                row = place.get(one.key)
                found.append(one if row is None else Skipped(self.key(start + row), one.reason))
        return list(dict.fromkeys(found))

    def rows_of(self, keys: Collection[str]) -> list[int]:
        """The samples that have one of these keys."""
        return [row for row in range(sum(map(len, self.sources))) if self.key(row) in keys]

    def lines(self, ranking: Ranking) -> tuple[list[str], list[list[Any]]]:
        """The heading and the rows of a ranking's csv."""
        heading = ["rank", "flagged", "score", "key", "label"]
        heading += ["other_key", "other_label"] if ranking.others is not None else []
        heading += ["suggested_label"] if ranking.suggested is not None else []
        names = self.label_names
        lines = []
        for i, (row, score) in enumerate(zip(ranking.rows.tolist(), ranking.scores.tolist(), strict=True)):
            line = [i + 1, i < ranking.flagged, f"{score:.4f}", self.key(row), self.label_of(row) or ""]
            if ranking.others is not None:
                other = int(ranking.others[i])
                line += [self.key(other), self.label_of(other) or ""]
            if ranking.suggested is not None:
                line.append(names[int(ranking.suggested[i])])
            lines.append(line)
        return heading, lines

    def check_manifest(self) -> None:
        """Raise ConfigError where what is left could not be named in a manifest."""
        for source in self.sources:
            if source.samples.path(0) is None and not self._tables(source):
                raise ConfigError(
                    f"{source.name!r} holds samples that are neither files of their own nor rows of a table: no "
                    "manifest can name what is left. Leave out --drop; the lists name what to take out."
                )

    def write_cleaned(self, path: Path, dropped: Collection[int]) -> None:
        """What is not dropped: path, label, and split where there are several parts; or the rows of a table."""
        if self.sources[0].samples.path(0) is None:
            self._write_rows_left(path, {self._bare_key(row) for row in dropped} | {one.key for one in self.skipped})
            return
        several = len(self.sources) > 1
        lines = []
        for at, source in enumerate(self.sources):
            for own in range(len(source)):
                if (row := int(self._starts[at]) + own) not in dropped:
                    file = os.path.abspath(str(source.samples.path(own)))
                    lines.append([file, self.label_of(row) or "", *([self._names[at]] if several else [])])
        write_rows(path, ["path", "label", *(["split"] if several else [])], lines, guard=False)

    def _write_rows_left(self, path: Path, dropped: Collection[str]) -> None:
        """The rows of all tables but those with one of these keys, with all their columns."""
        from nearfar.data.values import strings

        heading: list[str] | None = None
        lines: list[list[str]] = []
        for table in self._tables(self.sources[0]):
            names, several = list(table.names), table.split is not None
            found = table.read(range(len(names)))
            columns = [one.to_pylist() for cell in found.cells if (one := strings(cell)) is not None]
            if len(columns) < len(names):
                raise ConfigError(
                    f"{table.name!r} has a column of lists or structures, which no csv can hold: --drop ends."
                )
            heading = heading or [*names, *(["split"] if several else [])]
            for at, number in enumerate(found.numbers.tolist()):
                if f"{table.before}{number}" not in dropped:
                    cells = ["" if column[at] is None else column[at] for column in columns]
                    lines.append([*cells, *([str(table.split)] if several else [])])
        write_rows(path, heading or [], lines, guard=False)

    def _tables(self, source: Source) -> list[TableFile]:
        """The tables whose rows are the samples; none where they are something else."""
        origin = source.whole.origin
        if os.path.isdir(origin) or not os.path.exists(origin):
            return []
        found = [file for file in files_of(origin) if file.suffix.lower() in _TABLES]
        return open_tables(found, Request()) if found else []

    def _bare_key(self, row: int) -> str:
        source, own = self._at(row)
        return source.keys[own]

    def _at(self, row: int) -> tuple[Source, int]:
        at = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self.sources[at], row - int(self._starts[at])


def _as_many(vectors: Tensor, source: Source) -> bool:
    return len(vectors) == len(source)


def open_parts(encoder: Encoder, data: Any, **reading: Any) -> Audited:
    """DATA as what is audited: its train and test part where it has both; `reading` goes to `open_for`."""
    name = os.fspath(data) if isinstance(data, str | os.PathLike) else "data"
    train, test = data, None
    if isinstance(data, str | os.PathLike):
        train, test = parts_of(name, splits(registry.load(encoder.config["modality"]), name))
    parts = [train] if test is None else [train, test]
    names = [None] if test is None else [str(part).rpartition(":")[2] for part in parts]
    shown = os.path.basename(os.path.abspath(name)) if os.path.exists(name) else name
    return Audited(encoder, [open_for(encoder, part, **reading) for part in parts], names, shown)


def write_rows(path: Path, heading: Sequence[str], lines: Iterable[Sequence[Any]], *, guard: bool = True) -> None:
    """Write a csv atomically; with `guard` cells that a spreadsheet would run as formulas are guarded."""
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(heading)
    for line in lines:
        cells = [printable(cell) if isinstance(cell, str) else cell for cell in line]
        rows.writerow(
            [guarded(cell) if guard and isinstance(cell, str) and not _is_number(cell) else cell for cell in cells]
        )
    files.write(path, text.getvalue())


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
