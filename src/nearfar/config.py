"""The settings of a training run: one tree of small dataclasses. `None` stands for automatic.

A method's own options stand in `methods/options.py`, a modality's in its folder's `options.py`; in a run they are the
sections `method_options` and `modality_options`. Every option has one name, whatever its section, and that name is
the keyword of `nearfar.train`, the flag of `nearfar train` and the key in `config.toml`.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nearfar.errors import ConfigError, UnknownName, must
from nearfar.options import Options, Span, automatic, listed, option

FORMAT = 1
"""Version of the run folder's layout; a later nearfar reads all earlier ones."""
MOST_THREADS = 1024
LOGGERS = ("tensorboard", "wandb", "mlflow", "trackio")
"""What `--log` knows: each is a file of `training/loggers/`, and the package that it needs."""


@dataclass(frozen=True, kw_only=True)
class Data(Options):
    """What is trained on."""

    data: str = option(
        "",
        "Folder, manifest (.csv .tsv .jsonl .parquet), list of files (.txt), .tar or shards `'s-{000..099}.tar'`, .npy "
        "or .npz, `hf:NAME`, or `digits`; `DATA:split` picks a split.",
    )
    modality: str = automatic("Kind of data; found from the data when not given.")
    label_column: str | None = option(
        None, "Column of the classes; when not given: label, class, target or category. It is never an input."
    )
    group_column: str | None = option(
        None,
        "Column whose equal values say what belongs together; `group` when not given. It is never an input. Of files a "
        "pattern of their names, such as {label}_{group}_{index}.",
    )
    domain_column: str | None = option(
        None,
        "Column that says where a sample comes from; `domain` when not given. It is never an input.",
    )
    source_domain: str | None = option(
        None,
        "The domain whose labels are learnt from: those of the others are hidden, and only judge. Of folders "
        "DATA/DOMAIN/CLASS the name of one of the first level.",
    )
    every_domain: bool = option(
        False, "Labels of the other domains are learnt from, too, though only these judge.", python=True
    )
    ignore_columns: str | None = option(
        None, "Columns that are as if they were not there, parted by commas: `customer,note`.", listed=True
    )
    annotations: str | None = option(
        None,
        "Where the masks or boxes are that a method learns from: a folder of masks, a COCO .json, a folder of Pascal "
        "VOC .xml; found beside the data when not given.",
        path="input",
    )
    ignore_index: int = option(255, "Value in masks of what is of no class.", least=0, most=65_535)
    labels: str | None = option(
        None,
        "Labels that a method may learn from: a share of them such as `10%`, or a number of each class such as `5`; "
        "all when not given.",
    )
    label_draw: int | None = option(None, "Which draw of them, where they are not all; 0 when not given.", least=0)
    cache: str = option(
        "auto",
        "Where decoded samples are kept for the next run: `auto` (up to a tenth of the free disk), `off`, or a folder.",
        path="cache",
    )
    positives: Literal["views", "group", "pair"] = automatic(
        "What is drawn near: two views of a sample, a view of it and one of another sample of its `group`, or one of "
        "the sample in its column `positive`; by the columns there are when not given, and by views where groups are "
        "large."
    )
    order: Literal["shuffled", "streamed"] = automatic(
        "How samples are read: from everywhere, or shard after shard through a shuffle buffer; streamed when not given "
        "for shards that do not fit into half of the free memory."
    )
    shuffle_buffer: int = option(10_000, "Samples that a streamed order is shuffled among.", least=1)

    def check(self) -> None:
        """The cache has a name."""
        must(bool(self.cache.strip()), "cache must be auto, off or a folder", got=self.cache)

    @property
    def named_columns(self) -> dict[str, Any]:
        """What the user says of columns, as `open_source` takes it."""
        return {
            "label_column": self.label_column,
            "group_column": self.group_column,
            "domain_column": self.domain_column,
            "source_domain": self.source_domain,
            "ignore_columns": listed(self.ignore_columns),
        }


@dataclass(frozen=True, kw_only=True)
class Model(Options):
    """What is trained, and by which method."""

    method: str = option("simclr", "Training objective; `nearfar list methods` names all.", basic=True)
    encoder: str = automatic("Network; `nearfar list encoders` names all; any timm name works too.", basic=True)
    views: str | None = option(
        None,
        "How views are made: `auto`, or the name of a recipe, which the kind of data has some of; in Python also a "
        "function of one's own that makes a view of a sample.",
        automatic=True,
    )
    labels_chose_views: bool = option(
        False, "Whether labels of the training part have chosen the recipe; a run notes it here.", python=True
    )
    width: int | None = option(
        None, "Channels of the network's first stage (narrower is faster).", least=1, most=8192, automatic=True
    )
    pretrained: str | None = option(
        None,
        "Start from weights: `hub` (those that the library of the encoder's name publishes), a file (.safetensors, "
        ".pth, .pt), or a run folder.",
        path="input",
    )
    teacher: str | None = option(
        None,
        "Learn from the vectors that another encoder makes of each sample (method distill): the folder of a run, the "
        "name of a published encoder, NAME@FILE with weights in a file, or `self`, the published weights that the run "
        "starts from, as they came.",
        path="input",
    )
    keep_start: bool = automatic(
        "Keep the weights from the start where labels of the training part say that training has made them worse; "
        "published ones are mixed with those at the end where that is better."
    )
    also: str | None = option(
        None,
        "Further methods on the same encoder, each with the weight of its loss: `supcon:0.5,vicreg:0.1`; with options "
        "as `supcon:0.5:temperature=0.1`.",
    )
    matryoshka: str | None = option(
        None,
        "Also learn from vectors cut to their first dimensions, such as `64,128`, so that they may be cut later.",
    )
    whiten: bool = automatic(
        "Whiten the finished encoder's vectors half way: its weak directions count more in cosines (kNN, search). Not "
        "done by itself to published weights, and where the loss compares the encoder's own vectors."
    )

    @property
    def published(self) -> str | None:
        """The published weights that it starts from; None where it starts from none, or from another run."""
        return None if self.pretrained is None or Path(self.pretrained).is_dir() else self.pretrained


@dataclass(frozen=True, kw_only=True)
class Length(Options):
    """How long training goes on: exactly one of these."""

    budget: str | None = option(
        None,
        "Wall time from the command's start to the last step, such as `90s`, `10m`, `2h` (default 10m).",
        basic=True,
    )
    epochs: int | None = option(None, "Passes over the data.", least=1, basic=True)
    steps: int | None = option(None, "Optimiser steps.", least=1, basic=True)

    def check(self) -> None:
        """One of them at most, and a budget that can be read."""
        given = [name for name in ("budget", "epochs", "steps") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigError(f"--{given[0]} and --{given[1]} contradict each other: give one of them.")
        if self.budget is not None:
            seconds(self.budget)


@dataclass(frozen=True, kw_only=True)
class Optimisation(Options):
    """How the weights move."""

    batch_size: int = automatic(
        "Samples a step, over all processes.",
        least=2,
        reason=" (a contrast needs two samples)",
        basic=True,
        tuned=Span(0.5, 4, log=True, times=True),
    )
    micro_batch: int | Literal["auto"] | None = option(
        None,
        "Samples that a process embeds with one graph; a larger batch is embedded twice, and takes no more memory. "
        "What fits into memory when not given.",
        least=2,
    )
    sync_norm: bool = option(False, "Batch norm over the samples of all processes, where many train together.")
    gather: Literal["all", "ring"] = option(
        "all",
        "What a process compares its samples with at a time: with `all` of the batch, or with one process's after "
        "another in a `ring`, so that none holds all of their embeddings (large batches on many processes; some "
        "methods).",
    )
    optimizer: Literal["sgd", "lars", "adamw"] = automatic(
        "sgd (Nesterov momentum 0.9), lars (large batches), adamw (transformers, small networks)."
    )
    lr: float = automatic(
        "Peak learning rate, after warm-up; it falls along a cosine.",
        above=0,
        tuned=Span(0.3, 3, log=True, times=True),
    )
    weight_decay: float = automatic("L2 penalty on weights; biases and norms are free of it.", least=0)
    encoder_rate: float = automatic(
        "Learning rate of the encoder as a share of that of the heads: low where it starts from published weights.",
        above=0,
        most=1,
    )
    layer_decay: float = automatic(
        "Learning rate of each layer of the encoder as a share of that of the layer behind it; 1 for all alike.",
        above=0,
        most=1,
    )
    freeze: int = automatic("Layers of the encoder, from the input on, that stay as they are.", least=0)
    fix_norms: bool = automatic(
        "Batch norms of the encoder keep the statistics that they came with: so where it starts from published weights."
    )
    anchor: float = option(
        0.0,
        "How far each step takes the encoder's weights back towards where they started, a share of the way at the "
        "peak of the learning rate (0.01: about the last hundred steps are remembered); 0 not at all.",
        least=0,
        most=1,
    )
    warmup: float = automatic("Share of the run in which the learning rate rises, in [0, 1).", least=0, below=1)
    clip: float | None = option(
        None, "Largest norm of the gradient; longer ones are cut to it. Off when not given.", above=0
    )


@dataclass(frozen=True, kw_only=True)
class Machine(Options):
    """Where it runs."""

    device: str = automatic("auto, cpu, cuda, cuda:1 or mps.", basic=True)
    precision: Literal["fp32", "bf16"] = automatic(
        "Arithmetic of the encoder; when not given, measured once on this machine."
    )
    threads: int = automatic("Threads of the processor.", least=1, most=MOST_THREADS)
    compile: bool = option(False, "Compile the encoder with torch.compile: slow to start, then often faster.")
    seed: int = option(0, "Key of all randomness: order, views, weights.", least=0, basic=True)


@dataclass(frozen=True, kw_only=True)
class Watch(Options):
    """What is measured and kept while it runs."""

    health_every: int | None = option(
        None, "Steps between two records of loss and health in metrics.jsonl.", least=1, automatic=True
    )
    knn_every: float = option(
        0.1,
        "Share of the run between two kNN checks, where labels exist; 0 switches them off.",
        least=0,
        most=1,
    )
    hold_out: bool = option(
        True,
        "Keep a fifth of the labelled samples to judge by, where the data has no test part.",
        off="Learn from all labels: none are kept to judge by, and only a test part can judge. By default a fifth is "
        "kept where the data has no test part.",
    )
    checkpoint_every: float = option(60.0, "Seconds between two checkpoints.", above=0)
    log: str | None = option(
        None,
        "Where the records go beside metrics.jsonl, with commas between: tensorboard, wandb, mlflow, trackio.",
        listed=True,
    )

    def check(self) -> None:
        """The loggers are known."""
        for name in listed(self.log):
            if name not in LOGGERS:
                raise UnknownName("logger", name, LOGGERS)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Every setting of a run, as written to `config.toml`."""

    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    length: Length = field(default_factory=Length)
    optimisation: Optimisation = field(default_factory=Optimisation)
    machine: Machine = field(default_factory=Machine)
    watch: Watch = field(default_factory=Watch)
    method_options: Any = None
    modality_options: Any = None


SECTIONS: dict[str, type] = {
    "data": Data,
    "model": Model,
    "length": Length,
    "optimisation": Optimisation,
    "machine": Machine,
    "watch": Watch,
}


NAMED: dict[str, dict[str, Any]] = {
    "fine-grained": {
        "method": "supcon",
        "samples_per_class": 4,
        "temperature": 0.1,
        "also": "triplet:0.5:supervised=True;mining=hard",
    },
}
"""Settings that go by a name, `--config NAME`; a kind of data may add to them (`Modality.named`)."""


MIN_STEPS, MIN_EPOCHS, ENOUGH_STEPS = 50, 3, 300


def too_short(steps: int | None, epochs: float | None) -> str | None:
    """Say that a training was too short to tell what it is worth, and what is the least; None where it was not.

    The least is 50 steps, and 3 epochs where there are fewer than 300 steps.
    """
    if steps is None:
        return None
    few_epochs = epochs is not None and epochs < MIN_EPOCHS and steps < ENOUGH_STEPS
    if steps >= MIN_STEPS and not few_epochs:
        return None
    passes = "" if epochs is None else f", {epochs:.2g} {'epoch' if epochs == 1 else 'epochs'}"
    things = f"{steps} {'step' if steps == 1 else 'steps'}{passes}"
    return f"Too short to tell ({things}): give at least {MIN_STEPS} steps and {MIN_EPOCHS} epochs."


def seconds(text: str) -> float:
    """A duration such as `90s`, `10m`, `1.5h` or `1h30m` in seconds; raises ConfigError."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    if not parts or "".join(n + u for n, u in parts) != re.sub(r"\s", "", text.lower()):
        raise ConfigError(f"budget must be a time such as 90s, 10m or 2h, got {text!r}.")
    total = sum(float(n) * {"": 1, "s": 1, "m": 60, "h": 3600}[u] for n, u in parts)
    must(total > 0, "budget must be above 0", got=text)
    return total
