"""The page of a run: what it needs of data and encoder is kept in the run folder, and the page is made from that."""

import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nearfar import __version__
from nearfar.api.explained import explained
from nearfar.api.heads import task_of
from nearfar.api.sources import SKIPPED, unreadable
from nearfar.data.skipped import read_skipped, write_skipped
from nearfar.evaluation.embedding import embed_source
from nearfar.evaluation.knn import nearest
from nearfar.inspection import outliers, projection
from nearfar.reporting import kept, payload, report
from nearfar.reporting.kept import Costs, Kept
from nearfar.reporting.plain import duration
from nearfar.training.run_folder import CONFIG, RunFolder

if TYPE_CHECKING:
    from nearfar.api.prepare import Ready
    from nearfar.contract import Card, Source
    from nearfar.evaluation.result import Evaluation
    from nearfar.training.state import State

_ON_THE_MAP = 1500
_NEIGHBOURS = 8
_ROWS_OF_VIEWS = 8
_PREDICTED = 8
_SEARCHED, _QUERIES, _HITS = 2000, 5, 6  # samples, and queries and hits that are shown


def keep(ready: "Ready", folder: RunFolder, state: "State", train: "Source", vectors: Tensor, costs: Costs) -> Kept:
    """Write page.json from data and encoder: the samples to show, facts, alarms and costs; raises as `files.write`."""
    seed = ready.config.machine.seed
    rows = projection.sample_evenly(len(train), _ON_THE_MAP, seed)
    some = vectors[rows]
    similar, near = nearest(some, some, _NEIGHBOURS, exclude_self=True) if len(some) > 1 else (some[:, :0],) * 2
    unusual = outliers.find(vectors, seed=seed)

    def card(row: int) -> "Card":
        return train.cards(np.array([row]))[0]

    samples = report.Report(
        title="",
        map=report.MapData(
            xy=projection.project(some, seed=seed),
            items=train.cards(rows),
            neighbours=near.long().numpy(),
            similarities=similar.numpy(),
        ),
        views=_views(ready),
        found=_found(ready),
        predicted=_predicted(ready),
        closest=[report.Pair(a=card(i), b=card(j), similarity=s) for i, j, s in unusual.closest],
        strangest=[report.Strange(item=card(i), similarity=s) for i, s in unusual.strangest],
        explained=explained(ready.encoder, train, rows, near, similar),
    )
    path = folder.path / SKIPPED
    met = {one.key: one for one in [*read_skipped(path), *unreadable(ready.source, ready.judges.test)]}
    if met:
        write_skipped(path, met.values())
    found = Kept(
        step=state.step,
        facts=_facts(ready, state),
        alarms=[vars(alarm) for alarm in state.alarms],
        costs=costs,
        shown=payload.shown(samples),
    )
    kept.save(folder.path, found)
    return found


def write_page(path: Path, folder: RunFolder, found: "Evaluation", run: Kept) -> None:
    """Write the page of a run to `path`, from what its folder holds; raises as `files.write`."""
    skipped = read_skipped(folder.path / SKIPPED)
    page = report.Report(
        title=folder.path.resolve().name,
        facts=run.facts,
        alarms=run.alarms,
        evaluation=found,
        metrics=folder.metrics(),
        shown=run.shown,
        config=(folder.path / CONFIG).read_text(encoding="utf-8", errors="replace"),
        environment=folder.environment(),
        skipped=[vars(one) for one in skipped],
        skipped_total=len(skipped),
    )
    report.write(page, path)


def costs_of(ready: "Ready", state: "State", *, trained: bool) -> Costs:
    """What training has taken; its memory where this process has `trained` and done nothing else so far."""
    batch, order = ready.config.optimisation.batch_size, ready.plan.order
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    device = ready.plan.device
    return Costs(
        seconds=round(state.elapsed, 1),
        steps=state.step,
        epochs=round(state.step / order.steps_per_epoch, 2),
        samples=len(ready.source),
        seen=state.step * batch,
        parameters=sum(parameter.numel() for parameter in ready.encoder.parameters()),
        dim=ready.encoder.dim,
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit if trained else None,
        device_memory=torch.cuda.max_memory_allocated(device) if trained and device.type == "cuda" else None,
        processes=ready.plan.ranks.world,
    )


def _facts(ready: "Ready", state: "State") -> dict[str, str]:
    config = ready.config
    threads = "1 thread" if config.machine.threads == 1 else f"{config.machine.threads} threads"
    return {
        "Method": config.model.method,
        "Encoder": _encoder_name(ready),
        "Data": config.data.data,
        "Samples": f"{len(ready.source):,}",
        "Batch": f"{config.optimisation.batch_size:,} samples",
        "Wall time": f"{duration(state.elapsed)} of training",
        "Device": f"{config.machine.device}, {threads}, {config.machine.precision}",
        "nearfar": __version__,
    }


def _views(ready: "Ready") -> list[report.ViewsRow]:
    """The first views of a few samples, as the encoder sees them."""
    source = ready.source
    usable = source.usable
    rows = usable[np.unique(np.linspace(0, len(usable) - 1, min(len(usable), _ROWS_OF_VIEWS)).astype(np.int64))]
    raw, kept = source.fetch(rows)
    columns: list[list[Card]] = []
    for draw in range(2):  # two draws of two views show the spread better than one
        draws = np.arange(len(kept), dtype=np.int64) + draw * len(kept)
        shown = [ready.modality.show(view, ready.encoder) for view in ready.plan.views(raw, kept, draws)]
        if shown != columns:  # views that are always the same are shown once
            columns += shown
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


def _predicted(ready: "Ready") -> list[report.ViewsRow]:
    """Some annotated samples that judge, with what they are annotated with, and with what the head says."""
    task, judges = task_of(ready.plan.method), ready.judges.source(ready.source)
    if task is None or judges is None or judges.annotated is None:
        return []
    known = np.flatnonzero(judges.annotated >= 0)
    rows = known[projection.sample_evenly(len(known), _PREDICTED, 0)]
    found = []
    for row, annotations in task.shown(ready.plan.method, judges, rows):
        item = judges.cards(np.array([row]))[0]
        found.append(report.ViewsRow(item=item, views=[judges.annotated_card(row, one) for one in annotations]))
    return found


def _encoder_name(ready: "Ready") -> str:
    config = ready.encoder.config
    width = f", width {config['width']}" if config.get("width") else ""
    parameters = sum(p.numel() for p in ready.encoder.parameters())
    return f"{config['encoder']}{width}: {parameters / 1e6:.2f} M parameters, {ready.encoder.dim} dimensions"
