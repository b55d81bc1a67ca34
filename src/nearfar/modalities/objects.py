"""Data that is an object: arrays, data frames, lists and torch Datasets as samples, each for the modality it is of."""

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar import given
from nearfar.data import kinds
from nearfar.data.arrays import ArrayTable, is_one_hot
from nearfar.data.contents import Contents, Files
from nearfar.data.folder import extension_of
from nearfar.data.keys import printable, unique
from nearfar.data.sample_rows import SampleRows
from nearfar.data.table_file import Columns, Request, TableFile
from nearfar.data.tabular import read_tables
from nearfar.data.values import encode, strings
from nearfar.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from nearfar.contract import Modality
    from nearfar.data.samples import Samples

_INPUTS = ("image", "img", "pixel_values", "audio", "text", "sentence", "x", "input", "inputs", "data", "features")
_LABELS = ("label", "labels", "target", "targets", "y", "class")
_TRIED = 20
_LOOKED_AT = 1_000
log = logging.getLogger("nearfar")


def kind_of(name: str) -> str:
    """The modality of the data that goes by this name; raises DataError where there is none for it."""
    return _read(given.get("data", name), given.short(name)).kind


def samples_of(name: str, modality: "Modality", **columns: Any) -> "Samples":
    """The samples of the data that goes by this name; raises DataError where the modality does not read such data.

    `columns` are those of `Request` that say where labels and groups stand, for data that has columns.
    """
    short = given.short(name)
    found = _read(given.get("data", name), short, modality.name)
    if found.table is not None:
        return _rows(found.table, modality, columns).samples(short)
    if found.kind != modality.name:
        raise DataError(f"{short} is data of the kind {found.kind!r}: --modality {modality.name} does not read it.")
    assert found.rows is not None
    return found.rows().samples(short)


@dataclass(frozen=True)
class _Data:
    """Data of one modality: `rows` makes its samples, or a `table` holds them, which is of another one where asked."""

    kind: str
    rows: Callable[[], SampleRows] | None = None
    table: "_ArrowTable | None" = None


def _read(data: Any, name: str, asked: str | None = None) -> _Data:
    labels = None
    if isinstance(data, tuple) and len(data) == 2 and all(hasattr(part, "__len__") for part in data):
        data, labels = data
        if len(labels) != len(data):
            raise DataError(f"There are {len(labels)} labels for {len(data)} samples.")
    if hasattr(data, "column_names") or (hasattr(data, "columns") and hasattr(data, "iloc")):
        return _table(data, name)
    if hasattr(data, "__array__") and not hasattr(data, "convert"):
        return _array(np.asarray(data.detach().cpu() if hasattr(data, "detach") else data), labels, name)
    if isinstance(data, Mapping) or not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise DataError(
            f"data must be a path, an array, a pair (x, y), a data frame, a list or a torch Dataset with a length, got "
            f"{type(data).__name__}."
        )
    if not len(data):
        raise DataError(f"There are no samples in {name}.")
    return (_list if isinstance(data, list | tuple) else _dataset)(data, labels, name, asked)


def _array(array: NDArray[Any], labels: Any, name: str) -> _Data:
    if array.ndim not in (2, 3, 4) or array.dtype.kind not in "biuf" or 0 in array.shape:
        raise DataError(
            f"Arrays of data are numbers [N, D] (a table) or [N, H, W], [N, H, W, C] or [N, C, H, W] (images), got "
            f"{list(array.shape)} of {array.dtype}."
        )
    kind = "table" if array.ndim == 2 else "image"
    content, request = ("", Request(further=None)) if kind == "table" else ("image", Request(columns=("image",)))
    table = ArrayTable(Path(_word(name)), "", array, None if labels is None else _arrow(labels), content)
    return _Data(kind, lambda: read_tables([table], request))


def _list(data: Sequence[Any], labels: Any, name: str, asked: str | None) -> _Data:
    if not all(isinstance(one, str | os.PathLike) for one in data):
        if _are_pairs(data[0]):
            return _texts(data, labels, name)
        return _items(lambda i: data[i], len(data), labels, name, asked)
    paths = [os.path.abspath(os.path.expanduser(os.fspath(one))) for one in data]
    if not any(map(os.path.exists, paths)):
        if any(isinstance(one, os.PathLike) or extension_of(one) in kinds.BY_EXTENSION for one in data[:_TRIED]):
            raise DataError(
                f"A list of strings that end as files do is taken for paths, and none of these exists (the first is "
                f"{printable(os.fspath(data[0]))!r:.80})."
            )
        return _texts(data, labels, name)
    keys = unique(printable(os.fspath(one)) for one in data)
    kind = kinds.of_files(Counter(map(extension_of, paths[:_LOOKED_AT]))).name
    return _Data(
        "audio" if kind == "audio" else "image",
        lambda: SampleRows(keys=keys, contents=Files(paths), columns=_columns(labels)),
    )


def _dataset(data: Any, labels: Any, name: str, asked: str | None) -> _Data:
    """A torch Dataset, whose items are samples, (sample, label) or dictionaries."""
    first = _first(lambda i: data[i], len(data), name)
    inputs: Any = None
    label: Any = None
    if isinstance(first, Mapping):
        inputs = next((key for key in _INPUTS if key in first), None)
        label = next((key for key in _LABELS if key in first), None)
        if inputs is None:
            raise DataError(
                f"An item of {name} has {', '.join(map(repr, first))}: the sample is looked for in "
                f"{', '.join(_INPUTS)}."
            )
    elif isinstance(first, tuple | list):
        inputs, label = 0, 1 if len(first) > 1 and np.ndim(first[1]) == 0 else None
    if labels is None and label is not None:
        labels = _labels_of(data, label, name)
    return _items(lambda i: data[i] if inputs is None else data[i][inputs], len(data), labels, name, asked)


def _labels_of(data: Any, label: Any, name: str) -> Any:
    targets = next((getattr(data, name) for name in ("targets", "labels") if hasattr(data, name)), None)
    if targets is not None and np.shape(targets) == (len(data),):
        numbers, names = np.asarray(targets), getattr(data, "classes", None)
        if (
            isinstance(names, Sequence)
            and numbers.dtype.kind in "iu"
            and 0 <= numbers.min() <= numbers.max() < len(names)
        ):
            return [str(names[one]) for one in numbers.tolist()]
        return numbers
    log.info("reading the labels of %d items of %s", len(data), name)
    found = []
    for i in range(len(data)):
        try:
            found.append(data[i][label])
        except Exception:  # of a user's own code: the item is tried again, and listed with its reason, when it is read
            found.append(None)
    return found


def _items(take: Callable[[int], Any], count: int, labels: Any, name: str, asked: str | None) -> _Data:
    first = _first(take, count, name)
    if isinstance(first, str):
        return _texts([take(i) for i in range(count)], labels, name)
    kind, read = ("audio", _as_sound) if asked == "audio" or isinstance(first, Mapping) else ("image", _as_array)
    if kind == "image" and _as_array(first).ndim == 1:
        rows = [_as_array(take(i)) for i in range(count)]
        if len({row.shape for row in rows}) == 1:
            return _array(np.stack(rows), labels, name)
        kind, read = "audio", _as_sound  # of different lengths
    keys = unique(f"{_word(name)}#{i}" for i in range(count))
    return _Data(kind, lambda: SampleRows(keys=keys, contents=Items(take, count, read), columns=_columns(labels)))


def _first(take: Callable[[int], Any], count: int, name: str) -> Any:
    """The first item that can be had, of a few; raises DataError where there is none."""
    reason = ""
    for i in range(min(count, _TRIED)):
        try:
            return take(i)
        except Exception as error:  # of a user's own code
            reason = reason or f"{type(error).__name__}: {str(error)[:80]}"
    raise DataError(f"None of the first {min(count, _TRIED)} items of {name} can be read ({reason}).")


class Items(Contents):
    """Samples that a function gives by number, as `read` understands them; it is called by one thread at a time."""

    def __init__(self, take: Callable[[int], Any], count: int, read: Callable[[Any], Any]) -> None:
        self._take = take
        self._as_sample = read
        self._count = count
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def array(self, row: int) -> Any:
        """The picture or the sound; raises OSError where the function fails."""
        try:
            with self._lock:
                found = self._take(row)
            return self._as_sample(found)
        except Exception as error:  # of a user's own code
            raise OSError(f"{type(error).__name__}: {str(error)[:80]}") from None


def _as_sound(item: Any) -> Any:
    """Samples `[t]` or `[t, channels]`; with their rate, as a mapping of an `array` and a `sampling_rate`."""
    return item if isinstance(item, Mapping) else _as_array(item)


def _as_array(item: Any) -> NDArray[Any]:
    """A picture or a vector as an array, the channels of tensors last."""
    if hasattr(item, "convert"):  # of PIL
        return np.asarray(item if item.mode in ("L", "RGB", "I", "I;16", "F") else item.convert("RGB"))
    tensor = hasattr(item, "detach")
    array = np.asarray(item.detach().cpu() if tensor else item)
    if array.dtype.kind not in "biuf":
        raise DataError(f"A sample is a picture or numbers, got {type(item).__name__}.")
    return array.transpose(1, 2, 0) if tensor and array.ndim == 3 else array


def _table(data: Any, name: str) -> _Data:
    """A data frame or an Arrow table: of texts, where its columns show that, else of rows."""
    table = _ArrowTable(data, name)
    texts = kinds.of_columns(table.head(_LOOKED_AT)).name == "text"
    return _Data("text" if texts else "table", table=table)


def _rows(table: "_ArrowTable", modality: "Modality", columns: Mapping[str, Any]) -> SampleRows:
    request = Request(
        columns=modality.columns,
        inline=modality.inline,
        further=modality.further,
        recognise=modality.recognise,
        **columns,
    )
    return read_tables([table], request)


def _texts(rows: Sequence[Any], labels: Any, name: str) -> _Data:
    """Texts, or pairs and triples of them, with a number behind each where that is its score."""
    import pyarrow as pa

    if isinstance(rows[0], str):
        return _Data("text", table=_ArrowTable(pa.table(_with_labels({"text": list(rows)}, labels)), name))
    width = len(rows[0])
    if any(len(row) != width for row in rows):
        raise DataError(f"The tuples of {name} have different lengths.")
    cells = list(zip(*rows, strict=True))
    scored = not isinstance(rows[0][-1], str)
    names = ["text", "positive", *(f"negative{i or ''}" for i in range(width - 2 - scored)), *["score"] * scored]
    table = pa.table(_with_labels(dict(zip(names, map(list, cells), strict=True)), labels))
    return _Data("text", table=_ArrowTable(table, name))


def _with_labels(columns: dict[str, list[Any]], labels: Any) -> dict[str, Any]:
    return columns if labels is None else {**columns, "label": _arrow(labels)}


def _are_pairs(one: Any) -> bool:
    """Whether something is two texts or more, perhaps with a score."""
    return (
        isinstance(one, list | tuple)
        and len(one) > 1
        and all(isinstance(part, str) for part in one[:2])
        and all(isinstance(part, str) for part in one[2:-1])
        and isinstance(one[-1], str | float | int)
    )


class _ArrowTable(TableFile):
    """A data frame or an Arrow table in memory."""

    def __init__(self, data: Any, name: str) -> None:
        import pyarrow as pa

        super().__init__(Path(_word(name)))
        try:
            self._table = data if hasattr(data, "column_names") else pa.Table.from_pandas(data, preserve_index=False)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise DataError(f"{name} cannot be read as a table: {str(error)[:200]}") from None
        self.names = tuple(map(str, self._table.column_names))

    def head(self, count: int) -> dict[str, list[str]]:
        """The first cells of each column as text; none of columns of bytes or lists."""
        import pyarrow as pa

        found = dict[str, list[str]]()
        for name, column in zip(self.names, self._table.columns, strict=True):
            plain = not (pa.types.is_nested(column.type) or pa.types.is_binary(column.type))
            cells = strings(column.slice(0, count).combine_chunks()) if plain else None
            found[name] = [] if cells is None else [cell or "" for cell in cells.to_pylist()]
        return found

    def read(self, at: Sequence[int]) -> Columns:
        """The columns at these places."""
        return Columns([self._table.column(i).combine_chunks() for i in at], np.arange(len(self._table)))


def _columns(labels: Any) -> "dict[str, pa.DictionaryArray]":
    column = None if labels is None else encode(_arrow(labels))
    return {} if column is None else {"label": column}


def _arrow(labels: Any) -> "pa.Array":
    """Labels as Arrow has them: numbers, texts, None where there is none, or one-hot rows."""
    import pyarrow as pa

    if not isinstance(labels, list | tuple):
        array = np.asarray(labels.detach().cpu() if hasattr(labels, "detach") else labels)
        if array.ndim == 2 and array.shape[1] > 1 and is_one_hot(array):
            array = array.argmax(1)
        if array.size != len(array):
            raise DataError(f"Labels are one a sample, [N], or one-hot rows, got {list(array.shape)}.")
        labels = array.reshape(-1).tolist()
    plain = [one.item() if hasattr(one, "item") else one for one in labels]
    kinds = {type(one) for one in plain} - {type(None)}
    return pa.array(plain if len(kinds) == 1 else [None if one is None else str(one) for one in plain])


def _word(name: str) -> str:
    return name.split(" ")[0]
