"""The objects that settled options name: source, encoder, order, positives, views, optimiser, probe."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer

from nearfar import given
from nearfar.api import domains
from nearfar.api.baselines import first_weights, seed_weights
from nearfar.api.judging import Judges
from nearfar.api.load import load
from nearfar.config import TrainConfig
from nearfar.contract import Encoder, Method, Modality, Requirements, Rows, Source, Wanted
from nearfar.errors import ConfigError, RunError
from nearfar.evaluation.embedding import embed_source
from nearfar.evaluation.knn import knn_predict
from nearfar.evaluation.split import stratified_split
from nearfar.evaluation.task import PUBLISHED, STARTED
from nearfar.methods import registry as methods
from nearfar.modalities.opening import open_source
from nearfar.modalities.own_views import own_views
from nearfar.training import layers, optimisers, syncnorm
from nearfar.training.order import Balanced, Labelled, Order, Streamed
from nearfar.training.plan import MakeViews, Probe
from nearfar.training.positives import Against, Given, OfGroup, Positives
from nearfar.training.ranks import Ranks
from nearfar.whitening import Whitening

_PROBED = 1500  # samples


def reading(config: TrainConfig) -> dict[str, Any]:
    """Which columns have which purpose, and which annotations the method learns from, as `open_source` takes it.

    Raises ConfigError where annotations are named, and it learns from none.
    """
    kind = methods.load(config.model.method).required(config.method_options).annotations
    if kind is None and config.data.annotations is not None:
        raise ConfigError(
            "--annotations is for methods that learn from masks or boxes: leave it out, or take another --method."
        )
    data = config.data
    wanted = None if kind is None else Wanted(kind=kind, place=data.annotations, ignored=data.ignore_index)
    return {**data.named_columns, "annotations": wanted}


def source(config: TrainConfig, modality: Modality, part: str) -> Source:
    """The samples that are trained on."""
    return open_source(
        modality,
        part,
        options=config.modality_options,
        least=2,
        **reading(config),
        threads=config.machine.threads or torch.get_num_threads(),
        cache=config.data.cache,
    )


def encoder(config: TrainConfig, modality: Modality, source: Source, *, pretrained: bool) -> Encoder:
    """The encoder with the weights to start from; with `pretrained` False, those that are drawn."""
    start = config.model.pretrained if pretrained else None
    run = start if start is not None and Path(start).is_dir() else None
    seed_weights(config.machine.seed)
    made = modality.encoder(
        str(config.model.encoder),
        source,
        config.modality_options,
        width=config.model.width,
        pretrained=None if run else start,
    )
    begun = config.model.pretrained
    if begun is not None and Path(begun).is_dir() and "files" in (told := load(begun).config):
        # What its inputs mean, such as a tokenizer that was trained, is that of the run whose weights it starts from.
        made = modality.restore({name: value for name, value in told.items() if name != "whitened"})
    made.config["seed"] = config.machine.seed
    made.config["holds_out"] = config.watch.hold_out
    columns = {
        "labels_in": source.whole.label_column,
        "groups_in": config.data.group_column,
        "domains_in": config.data.domain_column,
        "source_domain": config.data.source_domain,
        "ignored": list(config.data.named_columns["ignore_columns"]),
    }
    made.config.update({name: value for name, value in columns.items() if value})  # for other data of the same columns
    if config.model.pretrained is not None:
        made.config["start"] = PUBLISHED if config.model.published else STARTED
    if run is not None:
        try:
            state = load(run).state_dict()
            made.load_state_dict({name: value for name, value in state.items() if not name.startswith("output.")})
        except RuntimeError:
            raise RunError(
                f"The encoder of {run!r} is of another shape; give the options of its encoder here too."
            ) from None
    return made


def check_maps(encoder: Encoder, modality: Modality) -> None:
    """Raise ConfigError where the encoder does not give the maps that the method learns from."""
    try:
        encoder.map_shapes()
    except ConfigError:
        kind = f"no encoder for data of the kind {modality.name} does: take another --method"
        others = f"these do: {', '.join(modality.with_maps)}" if modality.with_maps else kind
        name = given.short(str(encoder.config.get("encoder", type(encoder).__name__)))
        raise ConfigError(
            f"The method learns from feature maps, which the encoder {name!r} does not give; {others}."
        ) from None


def readable(source: Source, judges: Judges, usable: Rows) -> tuple[Source, Judges]:
    """The source without what turned out unreadable, and the rows that judge among what is left."""
    if len(usable) == len(source):
        return source, judges
    held_out = None if judges.held_out is None else np.flatnonzero(np.isin(usable, judges.held_out))
    return source.take(usable), replace(judges, held_out=held_out)


def views(config: TrainConfig, modality: Modality, encoder: Encoder) -> MakeViews:
    """What makes the views of a raw batch: the modality, or a function of the user's own."""
    seed = config.machine.seed
    if config.model.views is not None and given.is_given(config.model.views):
        return partial(own_views, given.get("views", config.model.views), modality, seed=seed, encoder=encoder)
    return partial(modality.views, seed=seed, options=config.modality_options, encoder=encoder)


def order(config: TrainConfig, source: Source, labels: Rows | None, requires: Requirements) -> Order:
    """The order that samples are read in, `labels` [N] being those that may be seen; raises ConfigError."""
    size, seed = config.optimisation.batch_size, config.machine.seed
    kinds = domains.kinds(config, source, labels) if requires.mixed else None
    if kinds is not None:
        count = len(np.unique(kinds[kinds >= 0]))
        return Balanced(kinds, size, seed, samples_per_class=size // count)
    if requires.samples_per_class:
        assert labels is not None
        return Balanced(labels, size, seed, samples_per_class=requires.samples_per_class)
    if labels is not None and not requires.unlabelled:
        return Labelled(labels, size, seed)
    if config.data.order == "streamed":
        assert source.shards is not None
        return Streamed(source.shards.numbers, size, seed, buffer=config.data.shuffle_buffer)
    return Order(len(source), size, seed)


def positives(config: TrainConfig, source: Source, requires: Requirements) -> Positives | None:
    """Where views of other samples come from; None where all views are of the samples themselves."""
    found: Positives | None = None
    if config.data.positives == "pair":
        found = Given(source, config.machine.seed)
    elif config.data.positives == "group":
        found = OfGroup(source, config.machine.seed)
    return Against(source, found, config.machine.seed) if requires.negatives and source.negatives is not None else found


def optimizer(config: TrainConfig, method: Method, start: Path | None) -> Optimizer:
    """The optimiser of the method's parameters; of a run that goes on, `start` is the file of the first weights."""
    given = config.optimisation
    made = optimisers.build(method, name=given.optimizer, lr=given.lr, weight_decay=given.weight_decay)
    if given.anchor:
        first = method.encoder.state_dict() if start is None else first_weights(start)
        learning = {name: one for name, one in method.encoder.named_parameters() if one.requires_grad}
        layers.anchor(made, {one: first[name].to(one, copy=True) for name, one in learning.items()}, given.anchor)
    return made


def synchronise(config: TrainConfig, method: Method, ranks: Ranks) -> None:
    """Make the ranks' methods one: equal weights, and norms over all of them where that is asked for."""
    if config.optimisation.sync_norm and getattr(config.method_options, "norm_group", 0) > 0:
        raise ConfigError("sync_norm and norm_group contradict each other: keys are shuffled among small norms.")
    if config.optimisation.sync_norm and ranks.world > 1:
        syncnorm.convert(method, next(method.parameters()).device.type)
    ranks.broadcast_tensors(list(method.state_dict().values()))  # pretrained ones, which the first rank has


def probe(config: TrainConfig, encoder: Encoder, source: Source, held_out: Rows | None) -> Probe | None:
    """A quick kNN accuracy on up to 1,500 samples that vote for each other; None without labels.

    Samples that are `held_out` are those asked about, and the others vote.
    """
    labels = source.labels
    if labels is None or len(np.unique(labels[labels >= 0])) < 2:
        return None
    labelled = np.flatnonzero(labels >= 0)
    rows = labelled[:: max(1, len(labelled) // _PROBED)]
    if len(rows) < 10:
        return None
    some, numbers = source.take(rows), torch.from_numpy(labels[rows])
    if held_out is None:
        bank, queries = stratified_split(numbers, share=0.33)
    else:
        asked = torch.from_numpy(np.isin(rows, held_out))
        bank, queries = (~asked).nonzero()[:, 0], asked.nonzero()[:, 0]

    def accuracy() -> dict[str, float]:
        vectors, kept = embed_source(encoder, some, show=False)
        if len(kept) < len(rows):
            return {}
        if config.model.whiten and encoder.whitens:  # as the finished encoder's will be
            vectors = Whitening(encoder.dim).fit(vectors)(vectors)
        found = knn_predict(vectors[bank], numbers[bank], vectors[queries], classes=len(source.label_names))
        return {"knn": (found == numbers[queries]).float().mean().item()}

    return accuracy
