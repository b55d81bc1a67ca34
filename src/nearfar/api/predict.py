"""What a fine-tuned run says of data: to a file of any size, or as a list."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.errors import OutputError, RunError
from nearfar.files import check_writable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from nearfar.contract import Source
    from nearfar.downstream.task import Predictor, Record, Write, Writer


@dataclass
class PredictedFile:
    """A file of predictions: its number of samples, those left out, and how often each answer was given."""

    path: Path
    samples: int = 0
    skipped: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    labelled: int = 0
    """Samples with a label."""
    right: int = 0
    """Those of them that are named so."""

    @property
    def accuracy(self) -> float | None:
        """The share of them that is named rightly; None where none has a label."""
        return self.right / self.labelled if self.labelled else None


def predict(
    run: str | os.PathLike[str],
    data: Any,
    *,
    batch_size: int | None = None,
    device: str | None = None,
    cache: str = "auto",
) -> "list[Record]":
    """What the head of a run in the folder `run` says of each sample of `data` that can be read, by its `key`.

    Of a detector: `boxes`, a list of left, top, width and height, with their `labels` and `scores`, best first. Of a
    segmenter: `mask`, class numbers [h, w] in the sample's own size, and `share of CLASS` of it. Of a
    classifier: the class (`prediction`), how probable it is (`probability`), and how probable each class is, as
    `p(NAME)`; `label` where the data has one. Raises UserError. `cache` as for `nearfar.embed`.
    """
    from nearfar.api.sources import tell_unreadable

    predictor = _predictor(run, device)
    source = _opened(predictor, data, cache)
    found = [record for records in _records(predictor, source, batch_size) for record in records]
    tell_unreadable(source)
    return found


def predict_file(
    run: str | os.PathLike[str],
    data: Any,
    out: str | os.PathLike[str],
    *,
    batch_size: int | None = None,
    device: str | None = None,
    cache: str = "auto",
) -> PredictedFile:
    """Write what `predict` gives to `out` as it is made: data of any size.

    A table (.csv, .jsonl or .parquet) of classes, a folder of masks, a .json or a folder of boxes. It is there when all
    is done; what is there already is refused. Samples that cannot be read are left out, and listed in `skipped.csv`
    beside it. Raises UserError.
    """
    from nearfar.api.sources import list_unreadable, tell_unreadable

    path = Path(out)
    predictor = _predictor(run, device)
    writer = predictor.writer(path) or Table(path, predictor)
    writer.check()
    source = _opened(predictor, data, cache)
    if isinstance(writer, Table):
        writer.labelled = source.labels is not None
    found = PredictedFile(path)
    with writer.writing() as write:
        for records in _records(predictor, source, batch_size, writer):
            write(records)
            found.samples += len(records)
            for record in records:
                for answer in writer.count(record):
                    found.counts[answer] = found.counts.get(answer, 0) + 1
                if "prediction" in record and record.get("label") is not None:
                    found.labelled += 1
                    found.right += record["label"] == record["prediction"]
    found.counts = dict(sorted(found.counts.items(), key=lambda one: -one[1]))
    tell_unreadable(source, listed=path.parent / "skipped.csv")
    found.skipped = len(list_unreadable(path.parent, source))
    return found


class Table:
    """Writes records as rows of a .csv, .jsonl or .parquet; with `labelled`, the labels of the data among them."""

    draws = False

    def __init__(self, path: Path, predictor: "Predictor") -> None:
        self.path, self.fields, self.labelled = path, predictor.fields, False

    def drawn(self, record: "Record") -> "Mapping[str, Any]":
        """Nothing."""
        return {}

    def check(self) -> None:
        """The file has a known ending, and is not there yet."""
        from nearfar.data.record_writer import check_ending

        check_ending(self.path)
        if self.path.exists():
            raise OutputError(f"{str(self.path)!r} is there already: remove it, or give another file to write to.")
        check_writable(self.path)

    def writing(self) -> "AbstractContextManager[Write]":
        """The file is there when all rows are written."""
        from nearfar.data.record_writer import writing

        return writing(self.path, {"key": str, **({"label": str} if self.labelled else {}), **self.fields})

    def count(self, record: "Record") -> list[str]:
        """The class."""
        return [str(record.get("prediction"))]


def _opened(predictor: "Predictor", data: Any, cache: str) -> "Source":
    """The samples, with what the predictor must know of them."""
    from nearfar.api.sources import open_for
    from nearfar.contract import Wanted

    wanted = None if predictor.wants is None else Wanted(kind=predictor.wants)
    return open_for(predictor.encoder, data, cache=cache, grow=False, annotations=wanted)


def _predictor(run: str | os.PathLike[str], device: str | None) -> "Predictor":
    """The encoder and the head of a run; raises RunError where it has none."""
    from nearfar.api.load import load_on
    from nearfar.downstream import registry
    from nearfar.downstream.task import HEAD
    from nearfar.files import read_json

    folder = Path(run) / HEAD
    encoder, _ = load_on(run, device)
    if not (folder / "config.json").is_file():
        raise RunError(
            f"The run in {os.fspath(run)!r} has no head that names anything: "
            f"nearfar finetune {os.fspath(run)} DATA makes a run that has."
        )
    try:
        task = str(read_json(folder / "config.json")["task"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{str(folder / 'config.json')!r} does not describe a head: {str(error)[:200]}") from None
    return registry.load(task).predictor(encoder, folder)


def _records(
    predictor: "Predictor", source: "Source", batch_size: int | None, writer: "Writer | None" = None
) -> "Iterator[list[Record]]":
    """The records of each batch, with keys, labels where the data has any, and what the writer draws."""
    import numpy as np

    from nearfar.evaluation.embedding import label_names
    from nearfar.prefetch import Prefetcher
    from nearfar.progress import track

    size = batch_size or predictor.encoder.embed_batch
    starts = range(0, len(source), size)

    def fetch(start: int) -> Any:
        return source.fetch(np.arange(start, min(start + size, len(source)), dtype=np.int64))

    with Prefetcher(fetch) as prefetcher:
        for raw, kept in track(prefetcher.walk(starts), "predict", count=len(starts)):
            if not len(kept):
                continue
            labels = label_names(source, kept)
            named = [{}] * len(kept) if labels is None else [{"label": label} for label in labels]
            keys = [source.keys[row] for row in kept.tolist()]
            records = [
                {"key": key, **label, **record}
                for key, label, record in zip(keys, named, predictor.predict(raw), strict=True)
            ]
            if writer is not None and writer.draws:
                for row, record in zip(kept.tolist(), records, strict=True):
                    record["card"] = source.annotated_card(row, writer.drawn(record))
            yield list(records)
