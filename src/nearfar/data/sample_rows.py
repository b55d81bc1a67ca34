"""Rows of samples as a reader found them, before their labels are numbered and a split is taken."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data import labels as coding
from nearfar.data.columns import MORE_NEGATIVES
from nearfar.data.contents import Contents
from nearfar.data.samples import Samples
from nearfar.data.strings import Rows, Strings

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("nearfar")


@dataclass(kw_only=True)
class SampleRows:
    """N rows: their keys, where the content of each lies, and what columns say about them.

    `columns` has label, group, domain, split and score where they are said: a dictionary-encoded Arrow array [N], null
    where missing. `class_names` are the names of classes whose numbers the labels are. Without `classes` labels that
    are no whole numbers are measurements; `label_column` is where they stand.
    """

    keys: Strings
    contents: Contents
    rows: Rows | None = None
    columns: "dict[str, pa.DictionaryArray]" = field(default_factory=dict)
    class_names: Sequence[str] | None = None
    label_column: str | None = None
    many_classes: bool = True
    pairs: dict[str, Contents] = field(default_factory=dict)
    table: "pa.Table | None" = None
    about: "pa.Table | None" = None
    shards: NDArray[np.int64] | None = None
    size: int = 0
    ignored: Mapping[str, int] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)

    @property
    def splits(self) -> list[str]:
        """The splits that the rows belong to, in order of appearance."""
        return self.columns["split"].dictionary.to_pylist() if "split" in self.columns else []

    def samples(self, name: str, split: str | None = None) -> Samples:
        """The rows as samples, or those of a split; labels and groups are numbered over all rows."""
        label = self.columns.get("label")
        what = f"{name}: " + ("labels" if self.label_column is None else f"column {self.label_column!r}")
        if label is not None and coding.are_measurements(label, many=not self.many_classes):
            log.warning("%s holds measurements, not classes: no labels.", what)
            label = None
        numbers, names = coding.classes(label, self.class_names, what=what)
        domains, domain_names = coding.classes(self.columns.get("domain"))
        found = Samples(
            name=name,
            keys=self.keys,
            contents=self.contents,
            rows=np.arange(len(self.keys)) if self.rows is None else self.rows,
            labels=numbers,
            label_names=names,
            label_column=self.label_column,
            groups=coding.groups(self.columns.get("group")),
            domains=domains,
            domain_names=domain_names,
            scores=coding.scores(self.columns.get("score"), what=f"{name}: scores"),
            positives=self.pairs.get("positive"),
            negatives=self.pairs.get("negative"),
            more_negatives=tuple(self.pairs[name] for name in MORE_NEGATIVES if name in self.pairs),
            split=split,
            shards=self.shards,
            size=self.size,
            table=self.table,
            about=self._about(split),
            ignored=self.ignored,
            refused=tuple(self.refused),
        )
        if split is not None and "split" in self.columns:
            found = self._of(found, split)
        if found.labels is not None and (missing := int((found.labels < 0).sum())):
            log.info("%s: %d of %d samples have no label", name, missing, len(found))
        return found

    def _about(self, split: str | None) -> "pa.Table | None":
        """The split, group and domain of each row, and the further columns that were read for it."""
        import pyarrow as pa

        names = [role for role in ("split", "group", "domain") if role in self.columns]
        columns: dict[str, Any] = {role: self.columns[role] for role in names}
        if split is not None and "split" not in columns:
            same = pa.array(np.zeros(len(self.keys), dtype=np.int8))
            columns["split"] = pa.DictionaryArray.from_arrays(same, [split])
        if self.about is not None:
            columns |= {name: _numbers(self.about[name]) for name in self.about.column_names if name not in columns}
        return pa.table(columns) if columns else None

    def _of(self, found: Samples, split: str) -> Samples:
        column = self.columns["split"]
        codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        if unsaid := int((codes < 0).sum()):
            log.warning("%s: %d samples belong to no split and are left out", found.name, unsaid)
        return found.take(np.flatnonzero(codes == column.dictionary.to_pylist().index(split)))


def _numbers(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """A column of texts that are all numbers, or empty, as numbers; any other, and codes such as 007, as it is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    filled = pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), None, column)
    if filled.null_count == len(filled) or pc.any(pc.match_substring_regex(filled, r"^\s*-?0\d")).as_py():
        return column
    for kind in (pa.int64(), pa.float64()):
        try:
            return pc.cast(pc.utf8_trim_whitespace(filled), kind)
        except pa.ArrowInvalid:
            continue
    return column
