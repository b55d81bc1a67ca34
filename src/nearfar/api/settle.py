"""Every option of a run that was left open is settled here, once, in the order in which the facts become known.

Each function gives the settings with some options filled in, and what it chose with its reasons. The first rank
settles, and what it settled is sent to the others. In the settings of a run that goes on nothing is open.
"""

import time
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from nearfar import torchrun
from nearfar.api import build, domains
from nearfar.config import TrainConfig, seconds
from nearfar.contract import Encoder, Method, Modality, Requirements, Rows, Source
from nearfar.errors import ConfigError
from nearfar.memory import available_memory
from nearfar.methods import several
from nearfar.options import Choice, Facts, Settling
from nearfar.training import automatic, microbatch, pace, precision, thread_count
from nearfar.training.order import Balanced
from nearfar.training.plan import MakeViews

Settled = tuple[TrainConfig, list[Choice]]
_MEASURED_ON = 256  # samples

_LEAST_ANNOTATED = 2

_LARGEST_GROUP = 32
"""Of samples that show the same thing; larger ones are speakers, sites, machines."""


def machine(config: TrainConfig) -> Settled:
    """The device."""
    found, choices = automatic.machine(config.machine)
    return replace(config, machine=found), choices


def inputs(config: TrainConfig, modality: Modality, source: Source, method: type[Method]) -> Settled:
    """What the inputs and views are like, and the name of the encoder."""
    model = config.model
    if model.pretrained is None and model.encoder is not None:
        model = replace(model, pretrained=modality.weights_of(model.encoder))
    config = replace(config, model=model)
    facts = replace(_facts(config, len(source)), scored=method.required(config.method_options).scores)
    options, name, choices = modality.settle(config.modality_options, source, model.encoder, facts)
    settling = Settling(replace(model, encoder=name))
    compares = method.compares_features(config.method_options)
    if compares or model.matryoshka is not None:
        settling.choose("whiten", False, "the loss compares the encoder's own vectors: they stay as they are")
    published = model.published is not None
    settling.choose("whiten", not published, "published weights are left as they came" if published else "")
    settling.choose("keep_start", not compares, "")
    return replace(config, modality_options=options, model=settling.options), choices + settling.choices


def learning(
    config: TrainConfig,
    method: type[Method],
    encoder: Encoder,
    source: Source,
    labels: Rows | None,
    held_out: Rows | None,
) -> Settled:
    """The options of the method, and how fast each layer of the encoder learns.

    `labels` [N] are those that the method may learn from, None where it learns without; the labels of the samples
    `held_out` are kept from it.
    """
    labelled = 0 if labels is None else int((labels >= 0).sum())
    kept_back = 0 if labels is None or held_out is None else len(held_out)
    choices = [Choice("labels", labelled, "a fifth of them is held back, to judge by")] if kept_back else []
    facts = _facts(config, len(source), labelled=labelled, held=kept_back)
    if labels is not None:
        named = source.label_names if source.annotations is None else source.annotations.classes
        facts = replace(facts, classes=len(named))
    if source.targets is not None:
        facts = replace(facts, targets=source.targets.shape[1])
    method_options, chosen = method.settle(config.method_options, facts, encoder)
    by_layer, rates = automatic.by_layer(config.optimisation, facts)
    config = replace(config, method_options=method_options, optimisation=by_layer)
    if config.model.also is not None:
        parts, more = several.settle(several.parse(config.model.also), facts, encoder)
        config = replace(config, model=replace(config.model, also=",".join(map(str, parts))))
        chosen = chosen + more
    return config, choices + chosen + rates


def optimisation(
    config: TrainConfig, method: Method, source: Source, labels: Rows | None, make_views: MakeViews, started: float
) -> Settled:
    """Batch size and the options of the optimiser, by how many steps the run will have; see `automatic`.

    How many a time budget holds, which counts from `started` (a `time.monotonic` value), is measured.
    """
    taught = labels is not None and not method.requires.unlabelled
    facts = _facts(config, int((labels >= 0).sum()) if labels is not None and taught else len(source))
    encoder, world = method.encoder, torchrun.place().world

    def measured_pace() -> automatic.Steps | None:
        raw, kept = source.fetch(np.arange(min(len(source), _MEASURED_ON // 2)))
        if len(kept) < 2 or facts.seconds is None:
            return None
        views, autocast = make_views(raw, kept, requires=method.requires), precision.dtype_of(config.machine.precision)
        found = pace.measure(method, views, processes=torchrun.place().neighbours, autocast=autocast)
        left = max(0.0, facts.seconds - (time.monotonic() - started))
        return lambda size: found.steps(left, -(-size // world))

    given, few = config.optimisation, list[Choice]()
    if config.data.labels is not None and (given.batch_size or 0) > facts.samples >= 2:
        given = replace(given, batch_size=facts.samples)
        few = [Choice("batch_size", facts.samples, "all that the labels drawn leave")]
    settled, choices = automatic.optimisation(
        given,
        facts,
        encoder,
        rate=method.rate * encoder.rate,
        smallest_batch=max(method.smallest_batch, encoder.smallest_batch, 2 * method.requires.samples_per_class),
        largest_batch=method.largest_batch,
        pace=None if facts.seconds is None else measured_pace,
    )
    return replace(config, optimisation=settled), few + choices


def sampling(config: TrainConfig, source: Source, labels: Rows | None, requires: Requirements) -> Settled:
    """The order that samples are read in, `labels` [N] being those that may be seen, and what is a positive of what.

    Raises ConfigError where a method or an option asks for what the data does not give.
    """
    order, choices = _order(config, source, labels, requires)
    positives, chosen = _positives(config, source, requires)
    choices += chosen
    if requires.negatives and source.negatives is not None:
        if config.optimisation.gather == "ring":
            raise ConfigError(
                f"The negatives that {source.name!r} gives do not go round a ring: give --gather all, or data without "
                "a column `negative`."
            )
        choices.append(Choice("negatives", "given", "the data has a column `negative`"))
    if source.log_q is not None and config.optimisation.gather == "ring":
        raise ConfigError(f"How often what {source.name!r} shows comes does not go round a ring: give --gather all.")
    return replace(config, data=replace(config.data, order=order, positives=positives)), choices


def computing(config: TrainConfig, source: Source, method: Method) -> Settled:
    """What is measured on this machine and some samples: how many threads are fastest, and which precision."""
    machine, choices = config.machine, list[Choice]()
    open_threads, open_precision = machine.threads is None, machine.precision is None
    if not open_threads and not open_precision:
        return config, []
    most = config.optimisation.batch_size or _MEASURED_ON
    raw, kept = source.fetch(np.arange(min(len(source), most, _MEASURED_ON)))
    if open_threads:
        threads, why = torch.get_num_threads(), "as many as torch takes of this machine"
        if len(kept) > 1 and threads > 1 and machine.device == "cpu":
            some = precision.few(method.encoder.prepare(raw))
            with precision.trial_pass(method.encoder) as run:
                threads, why = thread_count.choose(lambda: run(some), threads)
        machine = replace(machine, threads=threads)
        choices.append(Choice("threads", threads, why))
    if open_precision:
        kind, why = precision.UNMEASURED
        if len(kept) > 1:
            with precision.trial_pass(method.encoder) as run:
                kind, why = precision.choose(run, method.encoder.prepare(raw))
        machine = replace(machine, precision=kind)
        choices.append(Choice("precision", kind, why))
    return replace(config, machine=machine), choices


def memory(config: TrainConfig, source: Source, method: Method, make_views: MakeViews) -> Settled:
    """How many samples are embedded with one graph, by how much memory is free."""
    optimisation = config.optimisation
    if optimisation.micro_batch not in (None, "auto"):
        return config, []
    here = torchrun.place()
    own = -(-optimisation.batch_size // here.world)
    choice = Choice("micro_batch", own, "nothing could be read to measure memory with")
    raw, kept = source.fetch(np.arange(min(len(source), optimisation.batch_size, _MEASURED_ON)))
    if len(kept) > 1:
        autocast = precision.dtype_of(config.machine.precision)
        views = make_views(raw, kept, requires=method.requires)
        choice = microbatch.choose(method, views, own, processes=here.neighbours, autocast=autocast)
    return replace(config, optimisation=replace(optimisation, micro_batch=choice.value)), [choice]


def labels_of(source: Source, requires: Requirements, held_out: Rows | None) -> Rows | None:
    """The labels [N] that a method may learn from, -1 for the rows `held_out`; None where it learns without.

    Raises ConfigError where it learns from labels and there are too few.
    """
    if not learns_from_labels(requires):
        return None
    known = source.labels if requires.annotations is None else source.annotated
    if requires.annotations is not None:
        if known is None or int((known >= 0).sum()) < _LEAST_ANNOTATED:
            raise ConfigError(
                f"The method learns from {requires.annotations}, and fewer than {_LEAST_ANNOTATED} samples of "
                f"{source.name!r} to learn from have them: say where they are with --annotations."
            )
    elif known is None or len(np.unique(known[known >= 0])) < 2:
        raise ConfigError(
            f"The method learns from labels, and {source.name!r} has none of at least two classes: name a column "
            "`label`, make the folders classes, or take a method that needs none (`nearfar list methods`)."
        )
    shown = known.copy()
    if held_out is not None:
        shown[held_out] = -1
    return shown


def learns_from_labels(requires: Requirements) -> bool:
    """Whether a method with these requirements sees labels."""
    return requires.labels or requires.samples_per_class > 0


def _order(
    config: TrainConfig, source: Source, labels: Rows | None, requires: Requirements
) -> tuple[Literal["shuffled", "streamed"], list[Choice]]:
    given, shards = config.data.order, source.shards
    labelled_only = labels is not None and not requires.unlabelled
    if given == "streamed":
        if requires.mixed:
            raise ConfigError("--order streamed cannot mix labelled samples with others; leave it out for this method.")
        if requires.samples_per_class:
            raise ConfigError("--order streamed cannot balance classes; leave it out for this method.")
        if shards is None:
            raise ConfigError(f"{source.name!r} does not lie in shards, so it cannot be streamed: leave out --order.")
        if labelled_only:
            raise ConfigError("--order streamed cannot leave out samples; leave it out for this method.")
        return "streamed", []
    left = 0 if labels is None else int((labels < 0).sum())
    if requires.mixed and (kinds := domains.kinds(config, source, labels)) is not None:
        count = len(np.unique(kinds[kinds >= 0])) - 1
        what = "samples of the other domain" if config.data.source_domain and count == 1 else "samples without a label"
        why = f"as many labelled samples as {what}" + (f", of each of {count} domains" if count > 1 else "")
        return "shuffled", [Choice("order", "mixed", why)]
    if requires.samples_per_class:
        order = build.order(config, source, labels, requires)
        assert isinstance(order, Balanced)
        what = f"{order.classes} classes x {order.samples_per_class} samples"
        return "shuffled", [Choice("order", what, f"as the method asks; {left} samples without a label are left out")]
    if labelled_only:
        why = f"{left} samples without a label are left out: the method learns from labels alone"
        return "shuffled", [Choice("order", "labelled samples", why)] if left else []
    if given is None and shards is not None and shards.size > available_memory() / 2:
        why = f"its shards ({shards.size / 1e9:.1f} GB) do not fit into half of the free memory"
        return "streamed", [Choice("order", "streamed", why)]
    return "shuffled", []


def _positives(
    config: TrainConfig, source: Source, requires: Requirements
) -> tuple[Literal["views", "group", "pair"], list[Choice]]:
    kind, groups = config.data.positives, source.groups
    grouped = groups is not None and len(np.unique(groups)) < len(groups)
    if kind == "pair" and source.positives is None:
        raise ConfigError(f"{source.name!r} has no column `positive`: leave out --positives pair.")
    if kind == "group" and not grouped:
        raise ConfigError(f"{source.name!r} has no two samples of one group: leave out --positives group.")
    if requires.scores:
        _check_scores(source, kind)
    if kind is not None:
        return kind, []
    if requires.targets and (source.positives is not None or grouped):
        return "views", [Choice("positives", "views", "a teacher says what is near what")]
    if source.positives is not None and source.scores is not None and not requires.scores:
        why = "pairs have scores, so that not all are near, and the method does not learn from scores"
        return "views", [Choice("positives", "views", why)]
    if source.positives is not None:
        return "pair", [Choice("positives", "pair", "the data names a positive of each sample")]
    if groups is not None and grouped:
        _, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        if (size := int(np.median(sizes[which]))) > _LARGEST_GROUP:
            why = f"groups of about {size} samples say where these come from, not what they show"
            return "views", [Choice("positives", "views", why)]
        return "group", [Choice("positives", "group", "the data has a column `group`")]
    return "views", []


def _check_scores(source: Source, positives: str | None) -> None:
    """Raise ConfigError where there are no pairs with scores to learn from, or others are asked for."""
    if source.positives is None or source.scores is None or not np.isfinite(source.scores).any():
        raise ConfigError(
            f"The method learns from pairs with scores, which {source.name!r} does not have: name their columns "
            "`positive` and `score`, or take a method that needs none (`nearfar list methods`)."
        )
    if positives not in (None, "pair"):
        raise ConfigError(f"The method learns from pairs with scores: leave out --positives {positives}.")


def _facts(config: TrainConfig, samples: int, *, labelled: int = 0, held: int = 0) -> Facts:
    length = config.length
    return Facts(
        samples=samples,
        labelled=labelled,
        held=held,
        device=str(config.machine.device),
        threads=config.machine.threads or torch.get_num_threads(),
        seconds=None if length.budget is None else seconds(length.budget),
        steps=length.steps,
        batch_size=config.optimisation.batch_size,
        epochs=length.epochs,
        weights=config.model.published,
    )
