"""The page of a run, from what the run knows."""

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from nearfar import __version__
from nearfar.api.sources import SKIPPED, unreadable
from nearfar.data.skipped import read_skipped
from nearfar.evaluation.embedding import embed_source
from nearfar.evaluation.knn import nearest
from nearfar.inspection import outliers, projection
from nearfar.reporting import report
from nearfar.training.run_folder import CONFIG, RunFolder

if TYPE_CHECKING:
    from nearfar.api.prepare import Ready
    from nearfar.contract import Card, Source
    from nearfar.evaluation.result import Evaluation
    from nearfar.training.state import State

_ON_THE_MAP = 1500
_NEIGHBOURS = 8
_ROWS_OF_VIEWS = 8
_SEARCHED, _QUERIES, _HITS = 2000, 5, 6  # samples, and queries and hits that are shown


def write_page(
    ready: "Ready", folder: RunFolder, state: "State", found: "Evaluation", train: "Source", vectors: Tensor
) -> None:
    """Write report.html from what the run knows; raises as `files.write`."""
    config = ready.config
    met = [*read_skipped(folder.path / SKIPPED), *unreadable(ready.source, ready.judges.test)]
    skipped = list({one.key: one for one in met}.values())
    seed = config.machine.seed
    rows = projection.sample_evenly(len(train), _ON_THE_MAP, seed)
    some = vectors[rows]
    similar, near = nearest(some, some, _NEIGHBOURS, exclude_self=True) if len(some) > 1 else (some[:, :0],) * 2
    points = report.MapData(
        xy=projection.project(some, seed=seed),
        items=train.cards(rows),
        neighbours=near.long().numpy(),
        similarities=similar.numpy(),
    )
    unusual = outliers.find(vectors, seed=seed)

    def card(row: int) -> "Card":
        return train.cards(np.array([row]))[0]

    threads = "1 thread" if config.machine.threads == 1 else f"{config.machine.threads} threads"
    facts = {
        "Method": config.model.method,
        "Encoder": _encoder_name(ready),
        "Data": config.data.data,
        "Samples": f"{len(ready.source):,}",
        "Batch": f"{config.optimisation.batch_size:,} samples",
        "Wall time": f"{_duration(state.elapsed)} of training",
        "Device": f"{config.machine.device}, {threads}, {config.machine.precision}",
        "nearfar": __version__,
    }
    page = report.Report(
        title=folder.path.resolve().name,
        facts=facts,
        alarms=[vars(alarm) for alarm in state.alarms],
        evaluation=found,
        metrics=folder.metrics(),
        map=points,
        views=_views(ready),
        found=_found(ready),
        closest=[report.Pair(a=card(i), b=card(j), similarity=s) for i, j, s in unusual.closest],
        strangest=[report.Strange(item=card(i), similarity=s) for i, s in unusual.strangest],
        config=(folder.path / CONFIG).read_text(encoding="utf-8"),
        environment=folder.environment(),
        skipped=[vars(one) for one in skipped],
        skipped_total=len(skipped),
    )
    report.write(page, folder.path / "report.html")


def _views(ready: "Ready") -> list[report.ViewsRow]:
    """The first views of a few samples, as the encoder sees them."""
    source = ready.source
    usable = source.usable
    rows = usable[np.unique(np.linspace(0, len(usable) - 1, min(len(usable), _ROWS_OF_VIEWS)).astype(np.int64))]
    raw, kept = source.fetch(rows)
    columns = []
    for draw in range(2):  # two draws of two views show the spread better than one
        draws = np.arange(len(kept), dtype=np.int64) + draw * len(kept)
        columns += [ready.modality.show(view, ready.encoder) for view in ready.plan.views(raw, kept, draws)]
    return [
        report.ViewsRow(item=item, views=[column[i] for column in columns]) for i, item in enumerate(source.cards(kept))
    ]


def _found(ready: "Ready") -> list[report.ViewsRow]:
    """For a few items of either side of the samples that judge, what comes nearest on the other side."""
    test = ready.judges.test
    pairs = test.matched() if test is not None and test.sides else None
    if pairs is None:
        return []
    sides = [side.take(projection.sample_evenly(len(side), _SEARCHED, 0)) for side in (pairs.one, pairs.other)]
    different = []
    for side in sides:
        vectors, rows = embed_source(ready.encoder, side, show=False)
        first = np.sort(np.unique(side.ids[rows], return_index=True)[1])  # equal contents are shown once
        different.append((side.take(rows[first]), vectors[first]))
    found = []
    for (asked, queries), (there, corpus) in (different, different[::-1]):
        rows = projection.sample_evenly(len(asked), _QUERIES, 0)
        _, near = nearest(corpus, queries[rows], _HITS)
        for item, hits in zip(asked.cards(rows), near.long().numpy(), strict=True):
            found.append(report.ViewsRow(item=item, views=there.cards(hits)))
    return found


def _encoder_name(ready: "Ready") -> str:
    config = ready.encoder.config
    width = f", width {config['width']}" if config.get("width") else ""
    parameters = sum(p.numel() for p in ready.encoder.parameters())
    return f"{config['encoder']}{width}: {parameters / 1e6:.2f} M parameters, {ready.encoder.dim} dimensions"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
