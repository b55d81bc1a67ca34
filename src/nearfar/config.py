"""The settings of a training run: one tree of small dataclasses. `None` stands for automatic.

A method's own options stand in its file, a modality's in `modalities/<name>/options.py`; in a run they are the
sections `method_options` and `modality_options`. Every option has one name, whatever its section, and that name is
the keyword of `nearfar.train`, the flag of `nearfar train` and the key in `config.toml`.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from nearfar.errors import ConfigError, must

FORMAT = 1
"""Version of the run folder's layout; a later nearfar reads all earlier ones."""


MOST_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class Data:
    """What is trained on."""

    data: str = ""
    """Folder, manifest (.csv .tsv .jsonl .parquet), list of files (.txt), .tar or shards `'s-{000..099}.tar'`, .npy or
    .npz, `hf:NAME`, or `digits`; `DATA:split` picks a split."""
    modality: str | None = None
    """Kind of data; found from the data when not given."""
    label_column: str | None = None
    """Column of the classes; when not given: label, class, target or category. It is never an input."""
    cache: str = "auto"
    """Where decoded samples are kept for the next run: `auto` (up to a tenth of the free disk), `off`, or a folder."""
    positives: Literal["views", "group", "pair"] | None = None
    """What is drawn near: two views of a sample, a view of it and one of another sample of its `group`, or one of the
    sample in its column `positive`; by the columns there are when not given."""
    order: Literal["shuffled", "streamed"] | None = None
    """How samples are read: from everywhere, or shard after shard through a shuffle buffer; streamed when not given for
    shards that do not fit into half of the free memory."""
    shuffle_buffer: int = 10_000
    """Samples that a streamed order is shuffled among."""

    def __post_init__(self) -> None:
        must(self.shuffle_buffer >= 1, "shuffle_buffer must be at least 1", got=self.shuffle_buffer)
        named = bool(self.cache.strip()) and "\0" not in self.cache
        must(named, "cache must be auto, off or a folder", got=self.cache)


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is trained, and by which method."""

    method: str = "simclr"
    """Training objective; `nearfar list methods` names all."""
    encoder: str | None = None
    """Network; `nearfar list encoders` names all; any timm name works too."""
    width: int | None = None
    """Channels of the network's first stage (narrower is faster)."""
    pretrained: str | None = None
    """Start from weights: `hub`, a file (.safetensors, .pth, .pt), or a run folder."""
    whiten: bool = True
    """Whiten the finished encoder's vectors half way: its weak directions count more in cosines (kNN, search)."""

    def __post_init__(self) -> None:
        must(self.width is None or self.width >= 1, "width must be at least 1", got=self.width)


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long training goes on: exactly one of these."""

    budget: str | None = None
    """Wall time from the command's start to the last step, such as `90s`, `10m`, `2h` (default 10m)."""
    epochs: int | None = None
    """Passes over the data."""
    steps: int | None = None
    """Optimiser steps."""

    def __post_init__(self) -> None:
        given = [name for name in ("budget", "epochs", "steps") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigError(f"--{given[0]} and --{given[1]} contradict each other: give one of them.")
        must(self.epochs is None or self.epochs >= 1, "epochs must be at least 1", got=self.epochs)
        must(self.steps is None or self.steps >= 1, "steps must be at least 1", got=self.steps)
        if self.budget is not None:
            seconds(self.budget)


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How the weights move."""

    batch_size: int | None = None
    """Samples a step, over all processes."""
    micro_batch: int | Literal["auto"] | None = None
    """Samples that a process embeds with one graph; a larger batch is embedded twice, and takes no more memory. What
    fits into memory when not given."""
    sync_norm: bool = False
    """Batch norm over the samples of all processes, where many train together."""
    gather: Literal["all", "ring"] = "all"
    """What a process compares its samples with at a time: with `all` of the batch, or with one process's after another
    in a `ring`, so that none holds all of their embeddings (large batches on many processes; some methods)."""
    optimizer: Literal["sgd", "lars", "adamw"] | None = None
    """sgd (Nesterov momentum 0.9), lars (large batches), adamw (transformers, small networks)."""
    lr: float | None = None
    """Peak learning rate, after warm-up; it falls along a cosine."""
    weight_decay: float | None = None
    """L2 penalty on weights; biases and norms are free of it."""
    warmup: float | None = None
    """Share of the run in which the learning rate rises, in [0, 1)."""
    clip: float | None = None
    """Largest norm of the gradient; longer ones are cut to it. Off when not given."""

    def __post_init__(self) -> None:
        must(
            self.batch_size is None or self.batch_size >= 2,
            "batch_size must be at least 2 (a contrast needs two samples)",
            got=self.batch_size,
        )
        micro = self.micro_batch
        must(
            micro in (None, "auto") or (isinstance(micro, int) and micro >= 2),
            "micro_batch must be auto or at least 2",
            got=micro,
        )
        must(self.lr is None or self.lr > 0, "lr must be above 0", got=self.lr)
        must(
            self.weight_decay is None or self.weight_decay >= 0,
            "weight_decay must be 0 or more",
            got=self.weight_decay,
        )
        must(self.warmup is None or 0 <= self.warmup < 1, "warmup must be in [0, 1)", got=self.warmup)
        must(self.clip is None or self.clip > 0, "clip must be above 0", got=self.clip)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where it runs."""

    device: str | None = None
    """auto, cpu, cuda, cuda:1 or mps."""
    precision: Literal["fp32", "bf16"] | None = None
    """Arithmetic of the encoder; when not given, measured once on this machine."""
    threads: int | None = None
    """Threads of the processor."""
    compile: bool = False
    """Compile the encoder with torch.compile: slow to start, then often faster."""
    seed: int = 0
    """Key of all randomness: order, views, weights."""

    def __post_init__(self) -> None:
        must(
            self.threads is None or 1 <= self.threads <= MOST_THREADS,
            f"threads must be from 1 to {MOST_THREADS}",
            got=self.threads,
        )
        must(0 <= self.seed < 2**63, "seed must be from 0 to 2^63 - 1", got=self.seed)


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What is measured and kept while it runs."""

    health_every: int | None = None
    """Steps between two records of loss and health in metrics.jsonl."""
    knn_every: float = 0.1
    """Share of the run between two kNN checks, where labels exist; 0 switches them off."""
    checkpoint_every: float = 60.0
    """Seconds between two checkpoints."""

    def __post_init__(self) -> None:
        must(self.health_every is None or self.health_every >= 1, "health_every must be >= 1", got=self.health_every)
        must(0 <= self.knn_every <= 1, "knn_every must be in [0, 1]", got=self.knn_every)
        must(self.checkpoint_every > 0, "checkpoint_every must be above 0", got=self.checkpoint_every)


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


def seconds(text: str) -> float:
    """A duration such as `90s`, `10m`, `1.5h` or `1h30m` in seconds; raises ConfigError."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    if not parts or "".join(n + u for n, u in parts) != re.sub(r"\s", "", text.lower()):
        raise ConfigError(f"budget must be a time such as 90s, 10m or 2h, got {text!r}.")
    total = sum(float(n) * {"": 1, "s": 1, "m": 60, "h": 3600}[u] for n, u in parts)
    must(total > 0, "budget must be above 0", got=text)
    return total
