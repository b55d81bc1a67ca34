"""Records of one shape to a .csv, .jsonl or .parquet file, batch after batch; the file is there when all is written."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nearfar.data.keys import guarded, printable
from nearfar.errors import ConfigError
from nearfar.files import draft_of, to_json

ENDINGS = (".csv", ".jsonl", ".parquet")
Write = Callable[[Sequence[Mapping[str, Any]]], None]


def check_ending(path: Path) -> None:
    """Raise ConfigError for a file of another kind."""
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"The file must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}, got {str(path)!r}.")


@contextmanager
def writing(path: Path, kinds: Mapping[str, type]) -> Iterator[Write]:
    """A function that writes records, whose values are of these `kinds` (`str` or `float`), or None.

    Cells of .csv that a spreadsheet would run as formulas are guarded. Raises as `files.draft_of`.
    """
    with draft_of(path) as draft:
        if path.suffix.lower() == ".parquet":
            with _parquet(draft, kinds) as write:
                yield write
            return
        is_csv = path.suffix.lower() == ".csv"
        with draft.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            if is_csv:
                file.write(_lines([list(kinds)]))

            def write(records: Sequence[Mapping[str, Any]]) -> None:
                if is_csv:
                    file.write(_lines([[record.get(name) for name in kinds] for record in records]))
                else:
                    file.writelines(to_json({name: record.get(name) for name in kinds}) + "\n" for record in records)

            yield write


def _lines(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return guarded(printable(value)) if isinstance(value, str) else f"{value:.6g}"


@contextmanager
def _parquet(draft: Path, kinds: Mapping[str, type]) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {str: pa.string(), float: pa.float32()}
    schema = pa.schema([(name, types[kind]) for name, kind in kinds.items()])
    with pq.ParquetWriter(draft, schema) as writer:

        def write(records: Sequence[Mapping[str, Any]]) -> None:
            columns = {name: [record.get(name) for record in records] for name in kinds}
            writer.write_table(pa.table(columns, schema=schema))

        yield write
