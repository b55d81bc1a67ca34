"""From options to a run that can start: the data opened, automatic settings settled, everything built."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfar.api import options as opts
from nearfar.api import sampling
from nearfar.api.baselines import seed_weights
from nearfar.api.evaluate import judges, open_own_test
from nearfar.api.load import load
from nearfar.compiled import compile_network
from nearfar.config import TrainConfig, seconds
from nearfar.contract import Requirements, Rows
from nearfar.errors import ConfigError, RunError, must
from nearfar.modalities.opening import open_source, splits, suited
from nearfar.options import Choice, Facts
from nearfar.training.loop import Plan, Probe
from nearfar.training.positives import Paired, against, alternating

if TYPE_CHECKING:
    from nearfar.contract import Encoder, Method, Modality, Source, Views


@dataclass
class Parts:
    """Options in their sections, and the objects that they name."""

    config: TrainConfig
    modality: "Modality"
    method: "type[Method]"


@dataclass
class Ready:
    """Everything settled and built: the loop can start."""

    config: TrainConfig
    modality: "Modality"
    source: "Source"
    usable: Rows
    """The rows of the data that are in it."""
    test: str | None
    """The data's own test part, where it has one."""
    held: "Rows | None"
    """The samples that judge where no other part does, their labels unseen by the method; None where none can."""
    encoder: "Encoder"
    plan: "Plan"
    choices: "list[Choice]"


def assemble(options: Mapping[str, Any]) -> Parts:
    """Options by name to their sections, and the modality and the method that they name; raises UserError."""
    from nearfar.methods import registry as methods
    from nearfar.modalities import registry

    if not isinstance(options.get("data"), str | os.PathLike):
        raise ConfigError(f"data must be a path or a name, got {options.get('data')!r}.")
    for name in ("modality", "method"):  # looked up before all options are checked
        must(isinstance(options.get(name), str | None), f"{name} must be text", got=options.get(name))
    data = os.fspath(options["data"])
    name = options.get("modality") or registry.find(data)
    modality: Modality = registry.load(name)
    method: type[Method] = methods.load(options.get("method") or "simclr")
    config = opts.with_default_length(opts.assemble(options, method.Options, modality.Options))
    if config.optimisation.gather == "ring":
        methods.check_ring(config.model.method, config.method_options)
    start = config.model.pretrained
    config = replace(
        config,
        data=replace(config.data, data=lasting(data), modality=name, cache=_lasting_cache(config.data.cache)),
        model=replace(config.model, pretrained=os.path.abspath(start) if start and os.path.exists(start) else start),
    )
    return Parts(config, modality, method)


def prepare(parts: Parts, *, fresh: bool, usable: Rows | None = None) -> Ready:
    """Open the data, settle what is automatic, build the encoder, the method and the optimiser.

    `usable` are the rows that another rank has found readable, where all must take the same.

    A run that goes on (`fresh=False`) gets its weights from a checkpoint: pretrained ones are not looked for again.
    """
    import torch

    from nearfar.api import measure
    from nearfar.training import automatic, optimisers, precision

    modality, choices = parts.modality, []
    machine, chosen = automatic.machine(parts.config.machine)
    choices += chosen
    config = replace(parts.config, machine=machine)
    device = torch.device(str(machine.device))
    torch.set_num_threads(machine.threads or 1)

    source, test = _open(config, modality)
    requires = parts.method.required(config.method_options)
    learns = requires.labels or requires.samples_per_class > 0
    held = judges(source, machine.seed)
    facts = _facts(config, len(source))
    options, name, chosen = modality.settle(config.modality_options, source, config.model.encoder, facts)
    choices += chosen
    encoder = _encoder(config, modality, name, source, options, fresh)
    source = suited(source, encoder.config, least=2)
    if learns and test is not None:
        if open_own_test(encoder, test, source, cache=config.data.cache) is None:
            test = None  # known before any label is seen: a fifth of the training part keeps its own to itself
        else:
            held = None
    usable = source.usable if usable is None else usable
    if len(usable) < len(source):
        source = source.take(usable)
        held = None if held is None else np.flatnonzero(np.isin(usable, held))
    labels, chosen = sampling.labels(source, requires, held)
    choices += chosen
    hidden = 0 if labels is None or held is None else len(held)
    facts = _facts(config, len(source), labelled=0 if labels is None else int((labels >= 0).sum()), held=hidden)
    method_options, chosen = parts.method.settle(config.method_options, facts, encoder)
    choices += chosen
    every = labels is None or parts.method.required(method_options).unlabelled
    meeting = facts if every else replace(facts, samples=facts.labelled)
    optimisation, chosen = automatic.optimisation(config.optimisation, meeting, encoder, rate=parts.method.rate)
    choices += chosen
    batch_size, optimizer_name = optimisation.batch_size, optimisation.optimizer
    lr, weight_decay, warmup = optimisation.lr, optimisation.weight_decay, optimisation.warmup
    assert batch_size is not None
    assert optimizer_name is not None
    assert lr is not None
    assert weight_decay is not None
    assert warmup is not None
    method = parts.method(encoder, method_options).to(device)
    order, chosen = sampling.order(config.data, source, labels, method.requires, batch_size, machine.seed)
    choices += chosen
    positives, chosen = sampling.positives(config.data, source, machine.seed)
    choices += chosen
    others, chosen = sampling.negatives(positives, source, method.requires)
    choices += chosen
    if optimisation.gather == "ring" and others is not positives:
        raise ConfigError(
            f"The negatives that {source.name!r} gives do not go round a ring: give --gather all, or data without a "
            "column `negative`."
        )
    machine, chosen = measure.arithmetic(machine, source, encoder, batch_size)
    choices += chosen
    if machine.compile:
        compile_network(encoder)

    def views(raw: Any, draws: Rows, requires: Requirements = method.requires) -> "Views":
        if not isinstance(raw, Paired):
            return modality.views(raw, draws, requires=requires, seed=machine.seed, options=options, encoder=encoder)
        if raw.negatives is None:
            return alternating(views(raw.own, draws), views(raw.other, draws))
        more = replace(requires, wide=requires.wide + 1)
        pair = alternating(views(raw.own, draws, more), views(raw.other, draws, more))
        return against(pair, views(raw.negatives, draws, more))

    autocast = precision.dtype_of(machine.precision)
    optimisation, chosen = measure.memory(optimisation, source, method, views, autocast)
    choices += chosen
    assert isinstance(optimisation.micro_batch, int)
    config = replace(
        config,
        data=sampling.settled(config.data, order, positives),
        model=replace(config.model, encoder=name, width=encoder.config.get("width", config.model.width)),
        optimisation=optimisation,
        machine=machine,
        method_options=method_options,
        modality_options=options,
    )
    plan = Plan(
        method=method,
        source=source,
        labels=labels,
        views=views,
        order=order,
        positives=others,
        optimizer=optimisers.build(method, name=optimizer_name, lr=lr, weight_decay=weight_decay),
        lr=lr,
        warmup=warmup,
        clip=optimisation.clip,
        seed=machine.seed,
        device=device,
        ring=optimisation.gather == "ring",
        micro_batch=optimisation.micro_batch,
        autocast=autocast,
        record_every=config.watch.health_every,
        checkpoint_every=config.watch.checkpoint_every,
        probe=_probe(encoder, source, held if learns else None, config.model.whiten),
        probe_every=config.watch.knn_every,
        advice=modality.advice,
    )
    return Ready(config, modality, source, usable, test, held, encoder, plan, choices)


def _open(config: TrainConfig, modality: "Modality") -> "tuple[Source, str | None]":
    """The training part of the data, and the name of its own test part."""
    train, test = own_test(config.data.data, splits(modality, config.data.data))
    source = open_source(
        modality,
        train,
        options=config.modality_options,
        least=2,
        label_column=config.data.label_column,
        threads=config.machine.threads,
        cache=config.data.cache,
    )
    return source, test


def own_test(data: str, splits: Sequence[str]) -> tuple[str, str | None]:
    """The data's own train and test part, where it has both and none was asked for; else all of it and None."""
    test = next((name for name in ("test", "valid", "val", "validation", "dev") if name in splits), None)
    return (f"{data}:train", f"{data}:{test}") if "train" in splits and test else (data, None)


def _facts(config: TrainConfig, samples: int, *, labelled: int = 0, held: int = 0) -> Facts:
    length = config.length
    return Facts(
        samples=samples,
        labelled=labelled,
        held=held,
        device=str(config.machine.device),
        threads=config.machine.threads or 1,
        seconds=None if length.budget is None else seconds(length.budget),
        steps=length.steps,
        epochs=length.epochs,
    )


def _encoder(
    config: TrainConfig, modality: "Modality", name: str, source: "Source", options: Any, fresh: bool
) -> "Encoder":
    """The encoder with the weights to start from."""
    pretrained = config.model.pretrained if fresh else None
    run = pretrained if pretrained is not None and Path(pretrained).is_dir() else None
    seed_weights(config.machine.seed)
    encoder = modality.encoder(
        name,
        source,
        options,
        width=config.model.width,
        pretrained=None if run else pretrained,
    )
    encoder.config["seed"] = config.machine.seed
    if run is not None:
        try:
            state = load(run).state_dict()
            encoder.load_state_dict({name: value for name, value in state.items() if not name.startswith("output.")})
        except RuntimeError:
            raise RunError(
                f"The encoder of {run!r} is of another shape; give the options of its encoder here too."
            ) from None
    return encoder


def _probe(encoder: "Encoder", source: "Source", held: "Rows | None", whiten: bool) -> "Probe | None":
    """A quick kNN accuracy on samples of the training data that vote for each other; None without labels.

    Samples that are `held` are those asked about, and the others vote.
    """
    import torch

    from nearfar.evaluation.embedding import embed_source
    from nearfar.evaluation.knn import knn_predict
    from nearfar.evaluation.split import stratified_split
    from nearfar.whitening import Whitening

    labels = source.labels
    if labels is None or len(set(labels[labels >= 0].tolist())) < 2:
        return None
    labelled = np.flatnonzero(labels >= 0)
    rows = labelled[:: max(1, len(labelled) // 1500)]
    if len(rows) < 10:
        return None
    some = source.take(rows)
    numbers = torch.from_numpy(labels[rows])
    if held is None:
        bank, queries = stratified_split(numbers, share=0.33)
    else:
        asked = torch.from_numpy(np.isin(rows, held))
        bank, queries = (~asked).nonzero()[:, 0], asked.nonzero()[:, 0]

    def probe() -> dict[str, float]:
        vectors, kept = embed_source(encoder, some, show=False)
        if len(kept) < len(rows):
            return {}
        if whiten:  # as the finished encoder's will be
            vectors = Whitening(encoder.dim).fit(vectors)(vectors)
        found = knn_predict(vectors[bank], numbers[bank], vectors[queries], classes=len(source.label_names))
        return {"knn": (found == numbers[queries]).float().mean().item()}

    return probe


def lasting(data: str) -> str:
    """The data's name, with an absolute path where it is one, so that a run can be resumed from anywhere."""
    from nearfar.data import patterns
    from nearfar.modalities import registry

    return patterns.lasting(data, builtins=registry.builtins())


def _lasting_cache(cache: str) -> str:
    return cache if cache in ("auto", "off") else os.path.abspath(os.path.expanduser(cache))
