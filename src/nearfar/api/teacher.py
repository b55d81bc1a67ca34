"""What a teacher makes of the samples: computed once, and kept in the run's folder."""

import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nearfar.api.load import load
from nearfar.config import TrainConfig, seconds
from nearfar.contract import Encoder, Modality, Source
from nearfar.errors import ConfigError, DataError
from nearfar.evaluation.embedding import embed_source
from nearfar.files import write
from nearfar.modalities import registry
from nearfar.modalities.opening import suited
from nearfar.options import Facts
from nearfar.training.encoder_folder import packed
from nearfar.training.state import fingerprint

SELF = "self"
KEPT = "teacher.safetensors"
SHARE = 0.25
"""Of a time budget, which weights that teach themselves may take."""
_TIMED = 8
_log = logging.getLogger("nearfar")


def vectors_of(config: TrainConfig, modality: Modality, source: Source, run: Path) -> Tensor:
    """The teacher's vectors [N, D] of a source, centred, in units of their spread; those kept in the run, if there.

    Raises UserError for what is no teacher for this data.
    """
    found = _kept(run / KEPT, source)
    if found is None:
        teacher = _encoder(config, modality, source).to(torch.device(str(config.machine.device)))
        if config.model.teacher == SELF and not _in_time(teacher, source, config.length.budget):
            _log.info("as they came the weights would take too much of the time: they look as the run itself does")
            teacher = _itself(config, modality, source, config.modality_options)
        _log.info("the teacher %s looks at %d samples, once", config.model.teacher, len(source))
        vectors, rows = embed_source(teacher, suited(source, teacher.config))
        if len(rows) < len(source):
            raise DataError(f"The teacher cannot read {len(source) - len(rows)} of {len(source)} samples.")
        vectors = vectors - vectors.mean(0)
        found = vectors / vectors.square().mean().sqrt().clamp_min(1e-12)
    return found


def keep(source: Source, run: Path) -> None:
    """Write the vectors of the teacher into the run's folder, with the name of the data that they belong to."""
    if source.targets is not None and _kept(run / KEPT, source) is None:
        data = torch.frombuffer(bytearray(fingerprint(source).encode()), dtype=torch.uint8)
        write(run / KEPT, packed({"vectors": source.targets, "data": data}))


def _kept(path: Path, source: Source) -> Tensor | None:
    """The vectors that a run has kept; None where there are none of these samples, or the file is damaged."""
    from safetensors.torch import load_file

    try:
        found = load_file(path)
        same = bytes(found["data"].tolist()).decode() == fingerprint(source)
        vectors = found["vectors"].float()
    except Exception:  # there is none, or whatever a damaged file raises
        return None
    return vectors if same and len(vectors) == len(source) else None


def _in_time(teacher: Encoder, source: Source, budget: str | None) -> bool:
    """Whether the teacher takes at most `SHARE` of a time budget, by what a few samples take."""
    if budget is None:
        return True
    few = suited(source, teacher.config).take(np.arange(min(_TIMED, len(source))))
    embed_source(teacher, few, show=False)
    began = time.perf_counter()
    embed_source(teacher, few, show=False)
    return (time.perf_counter() - began) / len(few) * len(source) <= SHARE * seconds(budget)


def _itself(config: TrainConfig, modality: Modality, source: Source, options: Any) -> Encoder:
    """The encoder that the run starts from, under these options."""
    model = config.model
    if model.published is None:
        raise ConfigError("teacher self is the published weights that a run starts from: give --pretrained.")
    facts = Facts(samples=len(source), device=str(config.machine.device), threads=1, weights=model.published)
    options, encoder, _ = modality.settle(options, source, model.encoder, facts)
    return modality.encoder(encoder, source, options, width=model.width, pretrained=model.published).eval()


def _encoder(config: TrainConfig, modality: Modality, source: Source) -> Encoder:
    """The encoder of a run, or a published one as its library makes it for this data."""
    name = str(config.model.teacher)
    if name == SELF:
        return _itself(config, modality, source, modality.as_published(config.modality_options) or modality.Options())
    if os.path.isdir(name):
        made = load(name)
        if made.config["modality"] != modality.name:
            raise ConfigError(
                f"The teacher {name!r} is an encoder of the kind {made.config['modality']}, the data is of the kind "
                f"{modality.name}: both must be of one kind."
            )
        return made
    if os.path.isfile(name):
        raise ConfigError(f"The teacher {name!r} is a file of weights: name its network, --teacher NAME@{name}.")
    encoder, weights = registry.parted(name)
    weights = weights or modality.weights_of(encoder) or "hub"
    facts = Facts(samples=len(source), device=str(config.machine.device), threads=1, weights=weights)
    options, encoder, _ = modality.settle(modality.Options(), source, encoder, facts)
    return modality.encoder(encoder, source, options, pretrained=modality.weights_of(encoder) or weights).eval()
