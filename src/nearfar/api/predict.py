"""What a fine-tuned run says of data: to a file of any size, or as a list."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.errors import OutputError, RunError
from nearfar.files import check_writable

if TYPE_CHECKING:
    from nearfar.contract import Source
    from nearfar.downstream.task import Predictor, Record


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

    Of a classifier: the class (`prediction`), how probable it is (`probability`), and how probable each class is, as
    `p(NAME)`; `label` where the data has one. Raises UserError. `cache` as for `nearfar.embed`.
    """
    from nearfar.api.sources import open_for, tell_unreadable

    predictor = _predictor(run, device)
    source = open_for(predictor.encoder, data, cache=cache, grow=False)
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
    """Write what `predict` gives to `out` (.csv, .jsonl or .parquet) as it is made: data of any size.

    The file is there when all is done; one that is there already is refused. Samples that cannot be read are left out,
    and listed in `skipped.csv` beside it. Raises UserError.
    """
    from nearfar.api.sources import list_unreadable, open_for, tell_unreadable
    from nearfar.data.record_writer import check_ending, writing

    path = Path(out)
    check_ending(path)
    if path.exists():
        raise OutputError(f"{str(out)!r} is there already: remove it, or give another file to write to.")
    check_writable(out)
    predictor = _predictor(run, device)
    source = open_for(predictor.encoder, data, cache=cache, grow=False)
    found = PredictedFile(path)
    kinds = {"key": str, **({} if source.labels is None else {"label": str}), **predictor.fields}
    with writing(path, kinds) as write:
        for records in _records(predictor, source, batch_size):
            write(records)
            found.samples += len(records)
            for record in records:
                answer, label = record.get("prediction"), record.get("label")
                found.counts[str(answer)] = found.counts.get(str(answer), 0) + 1
                found.labelled += label is not None
                found.right += label is not None and label == answer
    found.counts = dict(sorted(found.counts.items(), key=lambda one: -one[1]))
    tell_unreadable(source, listed=path.parent / "skipped.csv")
    found.skipped = len(list_unreadable(path.parent, source))
    return found


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


def _records(predictor: "Predictor", source: "Source", batch_size: int | None) -> "Iterator[list[Record]]":
    """The records of each batch, with keys, and labels where the data has any."""
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
            yield [
                {"key": key, **label, **record}
                for key, label, record in zip(keys, named, predictor.predict(raw), strict=True)
            ]
