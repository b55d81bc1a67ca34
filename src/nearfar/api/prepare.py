"""From settings to a run that can start: the data opened, open options settled, everything built."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nearfar import given
from nearfar.api import build, domains, heads, recipes, settle, teacher
from nearfar.api import options as opts
from nearfar.api.baselines import START
from nearfar.api.judging import Judges, judges_of, parts_of, split_off
from nearfar.config import TrainConfig
from nearfar.contract import Encoder, Modality, Rows, Source
from nearfar.errors import ConfigError, must
from nearfar.methods import registry as methods
from nearfar.methods import several
from nearfar.methods.matryoshka import Matryoshka, widths_of
from nearfar.modalities import registry as modalities
from nearfar.modalities.opening import splits, suited
from nearfar.options import Choice
from nearfar.training import layers, precision
from nearfar.training.plan import Plan
from nearfar.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Ready:
    """A run that can start: its settings, of which none is open any more, and all that they name."""

    config: TrainConfig
    choices: list[Choice]
    """What was chosen for the user, and why."""
    modality: Modality
    source: Source
    judges: Judges
    encoder: Encoder
    plan: Plan
    held_back: Rows
    """Labelled samples of the training part that the method is not shown, for its head to be calibrated by."""
    came: Mapping[str, Tensor]
    """Buffers that the encoder of a new run had before its task began, which may have changed them."""


def assemble(options: Mapping[str, Any]) -> TrainConfig:
    """Options by name as settings, paths made absolute; raises UserError for what cannot be."""
    if not isinstance(options.get("data"), str | os.PathLike):
        raise ConfigError(f"data must be a path or a name, got {options.get('data')!r}.")
    for name in ("modality", "method"):  # looked up before all options are checked
        must(isinstance(options.get(name), str | None), f"{name} must be text", got=options.get(name))
    data = os.fspath(options["data"])
    modality = options.get("modality") or modalities.find(data, options)
    known = options.get("teacher")
    if known is None and options.get("method") is None and _teaches_itself(modalities.load(modality), options):
        known = teacher.SELF
    name = options.get("method") or (modalities.load(modality).method if known is None else "distill")
    method = methods.load(name)
    named = {**options, "modality": modality, "method": name, "teacher": known}
    config = opts.with_default_length(opts.assemble(named, method.Options, modalities.load(modality).Options))
    also = several.parse(config.model.also)
    if config.model.method in [part.name for part in also]:
        raise ConfigError(f"also names {config.model.method}, which is the method itself: name others.")
    requires = several.required(method, config.method_options, also)
    if also and config.optimisation.gather == "ring":
        raise ConfigError("also cannot go round a ring: give --gather all.")
    if config.optimisation.gather == "ring":
        methods.check_ring(config.model.method, config.method_options)
    if requires.targets != (config.model.teacher is not None):
        raise ConfigError(
            "--teacher goes with --method distill, which learns from its vectors."
            if config.model.teacher
            else f"The method {name} learns from a teacher: give --teacher, the folder of a run or a published encoder."
        )
    if config.model.matryoshka is not None and requires.maps:
        raise ConfigError(f"The method {name} learns from maps, and matryoshka cuts vectors: leave it out.")
    cache, start, other = config.data.cache, config.model.pretrained, config.model.teacher
    if cache not in ("auto", "off"):
        cache = os.path.abspath(os.path.expanduser(cache))
    if start is not None and os.path.exists(start):
        start = os.path.abspath(start)
    kind, colon, place = (other or "").rpartition(":")
    if other is not None and os.path.exists(place):  # also of st:FOLDER
        other = kind + colon + os.path.abspath(place)
    beside = config.data.annotations
    data = modalities.load(modality).around(data, annotated=build.reading(config)["annotations"] is not None)
    return replace(
        config,
        data=replace(
            config.data,
            data=modalities.lasting(data),
            modality=modality,
            cache=cache,
            annotations=None if beside is None else os.path.abspath(os.path.expanduser(beside)),
        ),
        model=replace(config.model, pretrained=start, teacher=other),
    )


def _teaches_itself(modality: Modality, options: Mapping[str, Any]) -> bool:
    """Whether the run starts from published weights, which are adapted beside themselves as they came."""
    start, encoder = options.get("pretrained"), options.get("encoder")
    if start is None and isinstance(encoder, str):
        start = modality.weights_of(encoder)
    known = start is not None and not os.path.isdir(start) and not given.is_given(encoder)
    return known and modality.as_published(modality.Options()) is not None


def prepare(
    config: TrainConfig,
    ranks: Ranks = ALONE,
    *,
    run: Path,
    fresh: bool = True,
    started: float | None = None,
    inner: bool = False,
) -> Ready:
    """Open the data, settle what was left open, and build the encoder, the method and all that the loop needs.

    All ranks do the same, and what the first settles holds for all. `run` is its folder. A run that goes on
    (`fresh=False`) gets its weights from a checkpoint: pretrained ones are not looked for again. A budget counts from
    `started` (a `time.monotonic` value), by default from now. With `inner`, where what is learnt is itself what judges
    (pairs, interactions), a part of the training part judges, and what judges a finished encoder is not looked at.
    Raises UserError.
    """
    started = time.monotonic() if started is None else started
    modality, method_class = modalities.load(str(config.data.modality)), methods.load(config.model.method)
    config, choices = ranks.on_first(settle.machine, config)
    most_threads = torch.get_num_threads() if config.machine.threads is None else None
    torch.set_num_threads(config.machine.threads or torch.get_num_threads())
    seed, device = config.machine.seed, torch.device(str(config.machine.device))

    # The data, and an encoder for it. The first rank goes first: the others find decoded what it has decoded.
    train, test = parts_of(config.data.data, splits(modality, config.data.data))
    source = ranks.first_then_others(build.source, config, modality, train)
    taken_out = None
    if config.watch.hold_out:
        source, taken_out = split_off(modality, source, test, seed)
    if taken_out is None:
        source, taken_out = domains.part(config, source, test, seed)
    if inner and source.labels is None:
        source, taken_out = split_off(modality, source, None, seed)
        test = None
    asked, config = config, recipes.usual(config, modality, gentle=method_class.gentle)
    config, chosen = ranks.on_first(settle.inputs, config, modality, source, method_class)
    choices += chosen
    encoder = ranks.first_then_others(build.encoder, config, modality, source, pretrained=fresh and ranks.first)
    also = several.parse(config.model.also)
    requires = several.required(method_class, config.method_options, also)
    if requires.maps:
        build.check_maps(encoder, modality)
    source = ranks.first_then_others(suited, source, encoder.config, least=2)
    judges = ranks.first_then_others(
        judges_of, encoder, source, test, taken_out, seed=seed, cache=config.data.cache, **build.reading(config)
    )
    judges = domains.judging(config, judges)
    source, judges = build.readable(source, judges, ranks.broadcast(source.usable))

    # The method.
    if requires.targets:
        source = source.with_targets(ranks.on_first(teacher.vectors_of, config, modality, source, run))
    known = settle.labels_of(source, requires, judges.held_out)
    labels, held_back = heads.hold_back(config, [method_class, *(part.kind for part in also)], source, known)
    config, chosen = ranks.on_first(settle.learning, config, method_class, encoder, source, labels, judges.held_out)
    choices += chosen
    layers.settle(encoder, config.optimisation)
    method = method_class(encoder, config.method_options)
    if also:
        method = several.Several(method, several.parse(config.model.also))
    if config.model.matryoshka is not None:
        method = Matryoshka(method, widths_of(config.model.matryoshka, encoder.dim))
    method = method.to(device)

    # What is measured on this machine, and which samples meet in a step.
    make_views = build.views(config, modality, encoder)
    config, chosen = ranks.on_first(settle.computing, config, source, method)
    choices += chosen
    torch.set_num_threads(config.machine.threads or 1)
    config, chosen = ranks.on_first(settle.optimisation, config, method, source, labels, make_views, started)
    choices += chosen
    config, chosen = ranks.on_first(settle.sampling, config, source, labels, method.requires)
    choices += chosen
    order = build.order(config, source, labels, method.requires)
    order.part(ranks.rank, ranks.world)  # raises ConfigError for batches that cannot be shared out
    positives = build.positives(config, source, method.requires)
    config, chosen = ranks.on_first(settle.memory, config, source, method, make_views)
    choices += chosen
    config = replace(config, model=replace(config.model, width=encoder.config.get("width", config.model.width)))
    if config.machine.compile:
        encoder.compile()
    came = ranks.on_first(heads.begin, config, method, source, labels) if fresh else {}
    build.synchronise(config, method, ranks)
    optimisation = config.optimisation
    assert isinstance(optimisation.micro_batch, int)
    plan = Plan(
        method=method,
        source=source,
        labels=labels,
        make_views=make_views,
        order=order,
        positives=positives,
        optimizer=build.optimizer(config, method, None if fresh else run / "encoder" / START),
        lr=optimisation.lr,
        warmup=optimisation.warmup,
        clip=optimisation.clip,
        seed=seed,
        device=device,
        ranks=ranks,
        ring=optimisation.gather == "ring",
        micro_batch=optimisation.micro_batch,
        autocast=precision.dtype_of(config.machine.precision),
        # A run of a time budget makes no promise of bits, which depend on the number of threads.
        most_threads=most_threads if config.length.budget is not None and ranks.world == 1 else None,
        record_every=config.watch.health_every,
        checkpoint_every=config.watch.checkpoint_every,
        probe=build.probe(config, encoder, source, judges.held_out if settle.learns_from_labels(requires) else None),
        probe_every=config.watch.knn_every,
        advice=modality.advice,
    )
    config, chosen = ranks.on_first(recipes.settle, asked, config, modality, plan, judges.held_out, started)
    plan = replace(plan, make_views=build.views(config, modality, encoder))
    return Ready(config, choices + chosen, modality, source, judges, encoder, plan, held_back, came)
