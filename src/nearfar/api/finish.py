"""What follows the last step of a run: the evaluation, the embedding, the report."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nearfar.api import heads, mixing
from nearfar.api.baselines import START, first_weights
from nearfar.api.embed import about_of
from nearfar.api.evaluate import compare_systems
from nearfar.api.page import costs_of, keep, write_page
from nearfar.api.sources import list_unreadable, origin_of
from nearfar.api.systems import measure
from nearfar.config import seconds
from nearfar.data.embeddings import Embeddings, file_of_side
from nearfar.evaluation import per_sample
from nearfar.evaluation.embedding import embed_source, label_names, whiten
from nearfar.files import write_json
from nearfar.training.encoder_folder import save_encoder
from nearfar.training.run_folder import RunFolder
from nearfar.whitening import Whitening

if TYPE_CHECKING:
    from nearfar.api.prepare import Ready
    from nearfar.contract import Encoder
    from nearfar.evaluation.result import Evaluation
    from nearfar.training.state import State

EMBEDDINGS, EVALUATION, REPORT = "embeddings.parquet", "evaluation.json", "report.html"
_SHARE, _LEAST_SECONDS = 0.15, 20.0  # what the evaluation may take of a budget, about
_KEPT = 200_000  # more vectors than this are not kept in the run folder


@dataclass(frozen=True)
class Finished:
    """What came of a run; plain data, the same on all ranks."""

    evaluation: "Evaluation | None"
    seconds: float
    whitening: Mapping[str, Tensor] = field(default_factory=dict)
    """The state of what follows the features in the finished encoder; empty where nothing does."""
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    """The encoder's own, where they are no longer those that training ended with."""


def finish(
    ready: "Ready", folder: RunFolder, state: "State", *, evaluate: bool = True, trained: bool = True
) -> Finished:
    """Whiten the encoder, evaluate it, and write evaluation.json, embeddings.parquet, page.json and report.html.

    With `evaluate` False the encoder is all that is written; `trained` says whether this process has trained it.
    """
    began = time.monotonic()
    costs = costs_of(ready, state, trained=trained)
    encoder = ready.encoder.eval()
    notes = []
    if ready.config.model.keep_start:
        if ready.config.model.published is not None:
            notes.append(mixing.settle(ready, first_weights(folder.path / "encoder" / START)))
        elif (said := mixing.not_behind(ready, folder.path)) is not None:
            notes.append(said)
    completed = heads.complete(ready)
    embedded = whiten(encoder, ready.source) if ready.config.model.whiten and encoder.whitens else None
    epochs = round(state.step / ready.plan.order.steps_per_epoch, 2)
    encoder.config |= {
        "labels_used": ready.plan.labels is not None or ready.config.model.labels_chose_views or bool(notes),
        "steps": state.step,
        "epochs": epochs,
    }
    save_encoder(folder.path / "encoder", encoder)
    head = heads.finish(ready, folder.path)
    found = None
    if evaluate:
        budget = ready.config.length.budget
        limit = None if budget is None else max(_LEAST_SECONDS, _SHARE * seconds(budget))
        measured = measure(
            encoder,
            ready.source,
            ready.judges,
            seed=ready.config.machine.seed,
            run=folder.path,
            embedded=embedded,
            seconds=limit,
        )
        list_unreadable(folder.path, ready.source, ready.judges.test)
        views = None
        wide = ready.plan.method.requires.wide
        if not measured.has_labels and measured.train.relation is None and wide > 1:
            views = {name: _two_views(ready, encoder) for name, encoder in measured.encoders.items()}
        found = compare_systems(measured, seed=ready.config.machine.seed, views=views)
        found.notes.extend(notes)
        if head is not None:
            found.rows.extend(head.rows)
            found.notes.extend(head.notes)
        found.steps, found.epochs = state.step, epochs
        write_json(folder.path / EVALUATION, found.to_json())
        per_sample.save(folder.path, found)
        train, vectors = measured.source, measured.vectors
        if len(vectors) <= _KEPT:
            labels = label_names(train, np.arange(len(train)))
            origin = origin_of(ready.config.data.data)
            maker = encoder.fingerprint()
            about = about_of(train, np.arange(len(train)))
            Embeddings(vectors.numpy(), list(train.keys), labels, origin, about, maker).save(folder.path / EMBEDDINGS)
            for name, side in list(train.sides.items())[1:]:
                vectors_of_side, rows = embed_source(encoder, side)
                keys = [side.keys[row] for row in rows.tolist()]
                beside = about_of(side, rows)
                Embeddings(vectors_of_side.numpy(), keys, None, origin, beside, maker).save(
                    folder.path / file_of_side(name)
                )
        write_page(folder.path / REPORT, folder, found, keep(ready, folder, state, train, vectors, costs))
    whitening = {name: value.cpu() for name, value in encoder.output.state_dict().items()}
    mixed = {name: value.cpu() for name, value in encoder.state_dict().items()} if notes or completed else {}
    return Finished(found, time.monotonic() - began, whitening, mixed)


def finished(encoder: "Encoder", found: Finished) -> "Encoder":
    """The encoder in evaluation mode, with the weights and the whitening that the first rank has chosen."""
    whitening = found.whitening
    if found.weights:
        own = {name: value for name, value in found.weights.items() if not name.startswith("output.")}
        encoder.load_state_dict(own, strict=False)
    if whitening and not encoder.config.get("whitened"):
        device = next(encoder.parameters()).device
        encoder.output = Whitening(encoder.dim).to(device)
        encoder.output.load_state_dict(dict(whitening))
        encoder.config["whitened"] = True
    return encoder.eval()


def _two_views(ready: "Ready", encoder: "Encoder") -> tuple[Tensor, Tensor]:
    """The encoder's vectors of two views of up to 1,024 samples."""
    rows = np.arange(len(ready.source))[:: max(1, len(ready.source) // 1024)][:1024]
    found = []
    with torch.no_grad():
        for start in range(0, len(rows), 256):
            raw, kept = ready.source.fetch(rows[start : start + 256])
            pair = ready.plan.views(raw, kept, kept)[:2]
            found.append(torch.stack([encoder.vectors(view).float() for view in pair]))
    first, second = torch.cat(found, dim=1)
    return first, second
