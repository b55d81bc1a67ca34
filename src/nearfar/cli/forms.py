"""What each command takes: every field is one flag, or a place in the line; the string under it is its help."""

from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class Common:
    """What all commands take."""

    quiet: bool = False
    """Print results only, no progress."""
    json: bool = False
    """Print one JSON object on standard output, and nothing else there."""


@dataclass(frozen=True, kw_only=True)
class Train(Common):
    """Learn an encoder from unlabelled data.

    What is not given is chosen for the data and the machine, and written to the run's config.toml.
    """

    data: Positional[str | None] = None
    """Folder, manifest (.csv .tsv .jsonl .parquet), list of files (.txt), .tar or shards `'s-{000..099}.tar'`, .npy or
    .npz, `hf:NAME`, or `digits`; `DATA:split` picks a split."""
    out: str | None = None
    """Folder of the run; when not given, a new one below runs/."""
    resume: bool = False
    """Go on with the run in --out; DATA and options may then be left out."""
    init: str | None = None
    """Start from the encoder of this run's folder."""
    config: str | None = None
    """Take settings from this config.toml; options given here come before them."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Common):
    """How good the encoder is on labelled data: kNN, linear probe and more, next to two baselines.

    The baselines are the same encoder untrained, and the raw input. Without --test, TRAIN's own splits are used; else a
    stratified 80/20 split keyed by the seed.
    """

    run: Positional[str]
    """Folder of a run."""
    train: Positional[str]
    """Labelled data the probes learn from."""
    test: str | None = None
    """Labelled data they are tested on."""
    baselines: bool = True
    """Leave the two baselines out."""
    seed: int | None = None
    """Key of the split and of the intervals; the run's own when not given."""
    cache: str = "auto"
    """Where decoded samples are kept: `auto`, `off`, or the folder that the run was given."""
    device: str | None = None
    """auto, cpu, cuda, cuda:1 or mps."""
    threads: int | None = None
    """Threads of the processor."""


@dataclass(frozen=True, kw_only=True)
class Embed(Common):
    """Write a vector for each sample of DATA.

    Stopped half way, the same command goes on where it was. Under torchrun each process writes a shard.
    """

    run: Positional[str]
    """Folder of a run."""
    data: Positional[str]
    """What is embedded: all that `nearfar train` takes."""
    out: str
    """File of the vectors: .parquet (with keys and labels) or .npy (vectors alone)."""
    batch_size: int | None = None
    """Samples embedded at once."""
    precision: Literal["fp32", "bf16"] | None = None
    """Arithmetic of the encoder; when not given, bf16 where that measures faster on much data."""
    cache: str = "auto"
    """Where decoded samples are kept: `auto`, `off`, or the folder that the run was given."""
    device: str | None = None
    """auto, cpu, cuda, cuda:1 or mps."""
    threads: int | None = None
    """Threads of the processor."""


@dataclass(frozen=True, kw_only=True)
class Search(Common):
    """The samples most like each query, by cosine similarity."""

    run: Positional[str]
    """Folder of a run."""
    query: Positional[tuple[str, ...]]
    """Samples to look for: files, as the run's modality reads them."""
    k: int = 10
    """Samples shown for each query."""
    within: str | None = None
    """Where to look: a file of `nearfar embed`, or data; when not given, embeddings.parquet in the run's folder."""
    device: str | None = None
    """auto, cpu, cuda, cuda:1 or mps: for the embedding of data given with --in."""
    threads: int | None = None
    """Threads of the processor."""


@dataclass(frozen=True, kw_only=True)
class Report(Common):
    """Write report.html of each run anew, from its encoder and its data.

    A run that was stopped before its evaluation gets one now.
    """

    run: Positional[tuple[str, ...]]
    """Folders of runs."""


@dataclass(frozen=True, kw_only=True)
class Demo(Common):
    """Train on the built-in digits, evaluate, and write the report page; needs no network."""

    out: str | None = None
    """Folder of the run; when not given, one below runs/."""
    seed: int = 0
    """Key of all randomness."""
    device: str | None = None
    """auto, cpu, cuda, cuda:1 or mps."""
    threads: int | None = None
    """Threads of the processor."""


@dataclass(frozen=True, kw_only=True)
class List(Common):
    """Names of what there is, and a line about each."""

    what: Positional[str]
    """What to list."""


FORMS: dict[str, type[Common]] = {
    "demo": Demo,
    "train": Train,
    "evaluate": Evaluate,
    "embed": Embed,
    "search": Search,
    "report": Report,
    "list": List,
}
