"""What follows the last step of a run: the evaluation, the embedding, the report."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nearfar.api.evaluate import compare_systems, measure
from nearfar.api.page import write_page
from nearfar.api.sources import list_unreadable, origin_of
from nearfar.config import seconds
from nearfar.data.embeddings import Embeddings
from nearfar.evaluation.embedding import embed_source, label_names, whiten
from nearfar.training.encoder_folder import save_encoder
from nearfar.training.run_folder import RunFolder
from nearfar.whitening import Whitening

if TYPE_CHECKING:
    from nearfar.api.prepare import Ready
    from nearfar.contract import Encoder
    from nearfar.evaluation.result import Evaluation
    from nearfar.training.state import State

EMBEDDINGS, EVALUATION = "embeddings.parquet", "evaluation.json"
_SHARE = 0.25  # of a budget, for the evaluation
_LEAST = 2_000  # samples that are looked at, however long it takes
_PASSES = 4  # over a sample, in the time of embedding it: by the baselines, by the test part, by the probes
_log = logging.getLogger("nearfar")
_KEPT = 200_000  # more vectors than this are not kept in the run folder


@dataclass(frozen=True)
class Finished:
    """What came of a run; plain data, the same on all ranks."""

    evaluation: "Evaluation | None"
    seconds: float
    whitening: Mapping[str, Tensor] = field(default_factory=dict)
    """The state of what follows the features in the finished encoder; empty where nothing does."""


def finish(ready: "Ready", folder: RunFolder, state: "State", *, evaluate: bool = True) -> Finished:
    """Whiten the encoder, evaluate it, and write evaluation.json, embeddings.parquet and report.html.

    With `evaluate` False the encoder is all that is written. After a run with a budget the evaluation takes about a
    quarter of it at most, as far as that is to be had from looking at fewer samples.
    """
    began = time.monotonic()
    encoder, source = ready.encoder.eval(), ready.source
    _log.info("embedding and evaluating %d samples", len(source))
    embedded = (whiten if ready.config.model.whiten else embed_source)(encoder, source)
    save_encoder(folder.path / "encoder", encoder)
    found = None
    if evaluate:
        vectors, rows = embedded
        if len(vectors) <= _KEPT:
            keys = [source.keys[row] for row in rows.tolist()]
            origin = origin_of(ready.config.data.data)
            Embeddings(vectors.numpy(), keys, label_names(source, rows), origin).save(folder.path / EMBEDDINGS)
        most = _affordable(ready, len(rows), time.monotonic() - began)
        measured = measure(encoder, source, ready.judges, run=folder.path, embedded=embedded, most=most)
        list_unreadable(folder.path, source, ready.judges.test)
        views = None
        if not measured.has_labels:
            views = {name: _two_views(ready, encoder) for name, encoder in measured.encoders.items()}
        found = compare_systems(measured, seed=ready.config.machine.seed, views=views)
        found.steps = state.step
        found.epochs = state.step * ready.plan.order.batch_size / len(source)
        folder.write_json(EVALUATION, found.to_json())
        write_page(ready, folder, state, found, source.take(rows), vectors)
    whitening = {name: value.cpu() for name, value in encoder.output.state_dict().items()}
    return Finished(found, time.monotonic() - began, whitening)


def _affordable(ready: "Ready", samples: int, spent: float) -> int | None:
    """How many samples can be looked at in what the budget leaves, embedding all of them having taken `spent` seconds.

    None for all.
    """
    budget = ready.config.length.budget
    if budget is None or not samples:
        return None
    left = max(0.0, _SHARE * seconds(budget) - spent)
    most = max(_LEAST, int(left / (_PASSES * spent / samples)))
    if most >= samples:
        return None
    _log.info("the evaluation looks at %d of %d samples, to stay within a quarter of the budget", most, samples)
    return most


def whitened(encoder: "Encoder", whitening: Mapping[str, Tensor]) -> "Encoder":
    """The encoder in evaluation mode, with the whitening that the first rank has fitted."""
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
            pair = ready.plan.make_views(raw, kept, requires=ready.plan.method.requires)[:2]
            found.append(torch.stack([encoder.vectors(view).float() for view in pair]))
    first, second = torch.cat(found, dim=1)
    return first, second
