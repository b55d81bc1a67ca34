"""What follows the last step of a run: the evaluation, the embedding, the report."""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.api.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from nearfar.api.prepare import Ready
    from nearfar.contract import Card, Encoder, Skipped, Source
    from nearfar.evaluation.result import Evaluation
    from nearfar.training.loop import State
    from nearfar.training.run_folder import RunFolder

_log = logging.getLogger("nearfar")
EMBEDDINGS = "embeddings.parquet"
_KEPT = 200_000  # more vectors than this are not kept in the run folder
_ON_THE_MAP = 1500
_NEIGHBOURS = 8
_ROWS_OF_VIEWS = 8


def finish(ready: "Ready", folder: "RunFolder", state: "State") -> Run:
    """Evaluate the encoder, and write evaluation.json, embeddings.parquet and report.html."""
    from nearfar.api.baselines import TRAINED, UNTRAINED, untrained
    from nearfar.api.evaluate import compare_systems, measure, open_own_test
    from nearfar.api.sources import list_skipped
    from nearfar.data.embeddings import Embeddings
    from nearfar.evaluation.embedding import label_names, whiten
    from nearfar.training.encoder_folder import save_encoder

    began = time.monotonic()
    encoder = ready.encoder.eval()
    if ready.config.model.whiten:
        whiten(encoder, ready.source)
    save_encoder(folder.path / "encoder", encoder)
    test = None
    if ready.test is not None:
        test = open_own_test(encoder, ready.test, ready.source, cache=ready.config.data.cache)
    measured = measure(encoder, ready.source, test, run=folder.path, held=None if test else ready.held)
    skipped = list_skipped(folder.path, ready.source, test)
    views = None
    if not measured.has_labels:
        before = untrained(encoder, measured.train, folder.path)
        views = {UNTRAINED: _views_found(ready, before), TRAINED: _views_found(ready, encoder)}
    found = compare_systems(measured, seed=ready.config.machine.seed, views=views)
    found.steps = state.step
    found.epochs = state.step * (ready.config.optimisation.batch_size or 0) / len(ready.source)
    folder.write_json("evaluation.json", found.to_json())
    vectors = measured.systems[TRAINED][0]
    train = measured.train
    if len(vectors) <= _KEPT:
        labels = label_names(train, _all(train))
        Embeddings(vectors.numpy(), [train.keys[i] for i in range(len(train))], labels).save(folder.path / EMBEDDINGS)
    write_report(ready, folder, state, found, train, vectors, skipped)
    return Run(folder.path, encoder, found, found.verdict(), state.elapsed, time.monotonic() - began)


def _views_found(ready: "Ready", encoder: "Encoder") -> "tuple[Tensor, Tensor]":
    """The encoder's vectors of two views of up to 1,024 samples."""
    import torch

    rows = _all(ready.source)[:: max(1, len(ready.source) // 1024)][:1024]
    found = []
    with torch.no_grad():
        for start in range(0, len(rows), 256):
            raw, kept = ready.source.fetch(rows[start : start + 256])
            pair = ready.plan.views(raw, kept)[:2]
            found.append(torch.stack([encoder.vectors(view).float() for view in pair]))
    first, second = torch.cat(found, dim=1)
    return first, second


def write_report(
    ready: "Ready",
    folder: "RunFolder",
    state: "State",
    found: "Evaluation",
    train: "Source",
    vectors: Any,
    skipped: "Sequence[Skipped]",
) -> Path:
    """Write report.html from what the run knows; raises RunError when it cannot be written."""
    from nearfar import __version__
    from nearfar.inspection import map, outliers
    from nearfar.reporting import report

    config = ready.config
    seed = config.machine.seed
    rows = map.sample_evenly(len(train), _ON_THE_MAP, seed)
    some = vectors[rows]
    near, similar = map.neighbours(some, _NEIGHBOURS)
    plane = report.MapData(
        xy=map.project(some, seed=seed), items=train.cards(rows), neighbours=near, similarities=similar
    )
    unusual = outliers.find(vectors, seed=seed)

    def card(row: int) -> "Card":
        return train.cards(_all(train)[row : row + 1])[0]

    facts = {
        "Method": config.model.method,
        "Encoder": _encoder_name(ready),
        "Data": config.data.data,
        "Samples": f"{len(train):,}",
        "Steps": f"{state.step:,} of {config.optimisation.batch_size} samples",
        "Wall time": f"{_duration(state.elapsed)} of training",
        "Device": f"{config.machine.device}, {config.machine.threads} threads, {config.machine.precision}",
        "nearfar": __version__,
    }
    page = report.Report(
        title=folder.path.resolve().name,
        facts=facts,
        alarms=[vars(alarm) for alarm in state.alarms],
        evaluation=found,
        metrics=folder.metrics(),
        map=plane,
        views=_views(ready, train),
        closest=[report.Pair(a=card(i), b=card(j), similarity=s) for i, j, s in unusual.closest],
        strangest=[report.Strange(item=card(i), similarity=s) for i, s in unusual.strangest],
        config=(folder.path / "config.toml").read_text(encoding="utf-8"),
        environment=folder.environment(),
        skipped=[vars(one) for one in skipped],
        skipped_total=len(skipped),
    )
    path = folder.path / "report.html"
    report.write(page, path)
    return path


def _views(ready: "Ready", train: "Source") -> list[Any]:
    """The first views of a few samples, as the encoder sees them."""
    import numpy as np

    from nearfar.reporting.report import ViewsRow

    rows = np.unique(np.linspace(0, len(train) - 1, min(len(train), _ROWS_OF_VIEWS)).astype(np.int64))
    raw, kept = train.fetch(rows)
    columns = []
    for draw in range(2):  # two draws of two views show the spread better than one
        views = ready.plan.views(raw, np.arange(len(kept), dtype=np.int64) + draw * len(kept))
        columns += [ready.modality.show(view, ready.encoder) for view in views]
    return [ViewsRow(item=item, views=[column[i] for column in columns]) for i, item in enumerate(train.cards(kept))]


def _encoder_name(ready: "Ready") -> str:
    config = ready.encoder.config
    width = f", width {config['width']}" if config.get("width") else ""
    parameters = sum(p.numel() for p in ready.encoder.parameters())
    return f"{config['encoder']}{width}: {parameters / 1e6:.2f} M parameters, {ready.encoder.dim} dimensions"


def _all(source: "Source") -> Any:
    import numpy as np

    return np.arange(len(source), dtype=np.int64)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
