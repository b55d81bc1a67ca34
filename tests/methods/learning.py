"""How far a short run on the built-in digits leads the untrained encoder, when each class has one label."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nearfar.api.baselines import untrained
from nearfar.api.prepare import assemble, prepare
from nearfar.contract import Encoder, Source
from nearfar.evaluation.embedding import embed_source
from nearfar.evaluation.knn import knn_predict
from nearfar.modalities.opening import open_source
from nearfar.training import loop
from nearfar.training.alarms import Alarm
from nearfar.training.clock import Clock
from nearfar.training.display import Display
from nearfar.training.run_folder import RunFolder
from nearfar.training.state import State

STEPS = 120
LABELS_PER_CLASS = 1
SETTINGS = {
    "steps": STEPS,
    "encoder": "small_cnn",
    "width": 16,
    "image_size": 16,
    "batch_size": 128,
    "precision": "fp32",
    "threads": 1,
    "whiten": False,
    # As the demo has it: a digit keeps its meaning when it is moved, scaled and turned a little.
    "flip": 0.0,
    "rotate": 15.0,
    "crop_scale": 0.4,
    "views_strength": 0.5,
    "knn_every": 0.0,
    "health_every": 10,
}
"""Of the run: so small that it takes a few seconds on one thread."""

_DRAWS = 20


@dataclass(frozen=True)
class Learnt:
    """Accuracies of the nearest neighbour with few labels, and what the run said of its health."""

    untrained: float
    trained: float
    effective_rank: float
    alarms: list[Alarm]
    seconds: float

    @property
    def lead(self) -> float:
        """How much better the trained encoder is."""
        return self.trained - self.untrained


def learn(method: str, seed: int, folder: Path) -> Learnt:
    """Train on the digits' own training part, and judge on their test part."""
    began = time.perf_counter()
    ready = prepare(assemble({**SETTINGS, "data": "digits", "method": method, "seed": seed}), run=folder)
    run = RunFolder(folder)
    run.claim()
    state = loop.fit(ready.plan, Clock(steps=STEPS), run, State(), Display(quiet=True))
    if state.interrupted:
        raise KeyboardInterrupt
    seconds = time.perf_counter() - began
    encoder = ready.encoder.eval()
    test = open_source(ready.modality, "digits:test", config=encoder.config)
    before = untrained(encoder, ready.source)
    return Learnt(
        accuracy(before, ready.source, test),
        accuracy(encoder, ready.source, test),
        run.metrics()[-1]["effective_rank"],
        state.alarms,
        seconds,
    )


def accuracy(encoder: Encoder, train: Source, test: Source) -> float:
    """Mean accuracy of the nearest of `LABELS_PER_CLASS` labelled samples of each class, over fixed draws of them."""
    bank, queries = (embed_source(encoder, source, show=False)[0] for source in (train, test))
    assert train.labels is not None
    assert test.labels is not None
    labels, wanted = torch.from_numpy(train.labels), torch.from_numpy(test.labels)
    classes = len(train.label_names)
    found = []
    for draw in range(_DRAWS):
        random = np.random.default_rng(draw)
        rows = np.concatenate(
            [random.choice(np.flatnonzero(train.labels == c), LABELS_PER_CLASS, replace=False) for c in range(classes)]
        )
        guessed = knn_predict(bank[rows], labels[rows], queries, classes=classes, k=1)
        found.append((guessed == wanted).double().mean())
    return float(torch.stack(found).mean())
