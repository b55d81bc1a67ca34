"""What each command takes and does: a field is a place in the line or a flag; `call` is one call of the api."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nearfar.cli import STARTED
from nearfar.cli.listing import KINDS, names
from nearfar.cli.output import columns
from nearfar.config import MOST_THREADS
from nearfar.errors import ConfigError
from nearfar.exporting.registry import TARGETS
from nearfar.options import Options, automatic, listed, option

Result = tuple[dict[str, Any], str]
"""The JSON object, and the text."""

_LAST = 3
"""Items of those that a user had that are shown."""
_DATA = (
    "Folder, manifest (.csv .tsv .jsonl .parquet), list of files (.txt), .tar or shards 's-{000..099}.tar', .npy or "
    ".npz, hf:NAME, or digits; DATA:split picks a split."
)


_LINE = 100  # characters of a text


def argument(help: str, *, many: bool = False, **more: Any) -> Any:
    """A field that is a place in the line."""
    return option(() if many else None, help, argument=True, local=True, many=many, **more)


def _device() -> Any:
    return option(None, "auto, cpu, cuda, cuda:1 or mps.")


def _threads(*, local: bool = True) -> Any:
    """Where it is `local`, it is set for the whole process; else the api has it."""
    return option(None, "Threads of the processor.", least=1, most=MOST_THREADS, local=local)


def _compile() -> Any:
    return option(False, "Compile the encoder with torch.compile: slow to start, then often faster on much data.")


def _cache() -> Any:
    return option("auto", "Where decoded samples are kept: auto, off, or the folder of the run.", path="cache")


def _label_column() -> Any:
    return option(None, "Column of the classes; when not given: that of the run, else one with a usual name.")


@dataclass(frozen=True, kw_only=True)
class Form(Options):
    """What all commands take."""

    quiet: bool = option(False, "Print results only, no progress.", common=True, local=True)
    json: bool = option(
        False, "Print one JSON object on standard output, and nothing else there.", common=True, local=True
    )

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Do it: `api` is the package, `given` are the options that stand in the line. Returns the result."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Train(Form):
    """Learn an encoder from unlabelled data.

    What is not given is chosen for the data and the machine, and written to the run's config.toml.
    """

    data: str | None = argument(_DATA, path="data")
    out: str | None = option(
        None, "Folder of the run; when not given, a new one below runs/.", short="-o", path="output", basic=True
    )
    resume: bool = option(
        False,
        "Go on with the run in --out, without DATA and options; with a larger length, for longer.",
        basic=True,
    )
    init: str | None = option(None, "Start from the encoder of this run's folder.", path="input")
    config: str | None = option(
        None, "Take settings from this config.toml; options given here come before them.", path="input"
    )
    evaluate: bool = option(
        True, "Evaluate the encoder at the end.", off="End after the last step, without evaluation."
    )

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Train."""
        if self.resume and self.out is None:
            raise ConfigError("--resume goes on with the run in --out DIR: give --out.")
        if self.data is None and not self.resume and self.config is None:
            raise ConfigError("nearfar train needs DATA: a folder, a manifest, tar shards, an array, or `digits`.")
        return _of_run(api.train(self.data, started=STARTED, quiet=self.quiet, **given))


@dataclass(frozen=True, kw_only=True)
class Demo(Form):
    """Train on the built-in digits, evaluate, and write the report page; needs no network."""

    out: str | None = option(
        None, "Folder of the run; when not given, one below runs/.", short="-o", path="output", basic=True
    )
    seed: int = option(0, "Key of all randomness.", least=0)
    device: str | None = _device()
    threads: int | None = _threads(local=False)

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Train on digits."""
        return _of_run(api.demo(started=STARTED, quiet=self.quiet, **given))


@dataclass(frozen=True, kw_only=True)
class Evaluate(Form):
    """How good the encoder is on labelled data: kNN, linear probe and more, next to two baselines.

    The baselines are the same encoder untrained, and the raw input. Without --test, TRAIN's own splits are used; else a
    stratified 80/20 split keyed by the seed.
    """

    run: str = argument("Folder of a run.", needed=True, path="input")
    train: str = argument("Labelled data the probes learn from.", needed=True, path="data")
    test: str | None = option(None, "Labelled data they are tested on.", path="data", local=True)
    baselines: bool = option(True, "Compare with the two baselines.", off="Leave the two baselines out.")
    label_column: str | None = _label_column()
    group_column: str | None = option(
        None, "Column of what belongs together; when not given: that of the run, else `group`."
    )
    labels: str | None = option(
        None, "Numbers of labels, in all, that probes are given too, parted by commas: `100,1000`.", local=True
    )
    seed: int | None = option(None, "Key of the split and of the intervals; the run's own when not given.", least=0)
    compile: bool = _compile()
    cache: str = _cache()
    device: str | None = _device()
    threads: int | None = _threads()

    def check(self) -> None:
        """The numbers of labels are numbers."""
        _ = self.numbers_of_labels

    @property
    def numbers_of_labels(self) -> tuple[int, ...]:
        """The numbers in `labels`; raises ConfigError."""
        words = listed(self.labels)
        if not all(word.isdecimal() and int(word) > 0 for word in words):
            raise ConfigError(
                f"--labels must be whole numbers parted by commas, such as 100,1000, got {self.labels!r}."
            )
        return tuple(map(int, words))

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Evaluate."""
        labels = {"labels": numbers} if (numbers := self.numbers_of_labels) else {}
        found = api.evaluate(self.run, self.train, self.test, **labels, **given)
        return {"run": self.run, **_judged(found)}, _table(found)


@dataclass(frozen=True, kw_only=True)
class Embed(Form):
    """Write a vector for each sample of DATA.

    Stopped half way, the same command goes on where it was. Under torchrun each process writes a shard.
    """

    run: str = argument("Folder of a run.", needed=True, path="input")
    data: str = argument("What is embedded: all that nearfar train takes.", needed=True, path="data")
    out: str = automatic(
        "File of the vectors: .parquet (with keys and labels) or .npy (vectors alone).",
        short="-o", path="output", needed=True, local=True,
    )  # fmt: skip
    batch_size: int | None = option(None, "Samples embedded at once.", least=1)
    precision: Literal["fp32", "bf16"] | None = option(
        None, "Arithmetic of the encoder; when not given, bf16 where that measures faster on much data."
    )
    compile: bool = _compile()
    cache: str = _cache()
    device: str | None = _device()
    threads: int | None = _threads()

    def check(self) -> None:
        """The file is of a known kind."""
        if self.out is not None and Path(self.out).suffix.lower() not in (".parquet", ".npy"):
            raise ConfigError(f"--out must end in .parquet or .npy, got {self.out!r}.")

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Embed."""
        made = api.embed_file(self.run, self.data, self.out, **given)
        left = f"; {made.skipped} samples could not be read (skipped.csv)" if made.skipped else ""
        text = f"{made.samples} vectors of {made.dim} dimensions in {made.path}{left}"
        return {"out": made.path, "samples": made.samples, "dim": made.dim, "skipped": made.skipped}, text


@dataclass(frozen=True, kw_only=True)
class Search(Form):
    """The samples most like each query, by cosine similarity."""

    run: str = argument("Folder of a run.", needed=True, path="input")
    query: tuple[str, ...] = argument(
        "What to look for: files, FILE#3 for row 3 of a file, rows as JSON, or keys of the embedding.",
        needed=True,
        many=True,
        path="input",
    )
    k: int = option(10, "Samples shown for each query.", short="-k", least=1, local=True)
    within: str | None = option(
        None,
        "Where to look: a file of nearfar embed, or data; when not given, embeddings.parquet in the run's folder.",
        spelled="in",
        path="data",
        local=True,
    )
    device: str | None = option(None, "auto, cpu, cuda, cuda:1 or mps: for the embedding of data given with --in.")
    threads: int | None = _threads()

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Search for each query."""
        if self.within is None and Path(self.run).is_dir() and not (Path(self.run) / "embeddings.parquet").is_file():
            raise ConfigError(f"{self.run!r} keeps no embeddings: say where to look by --in FILE.parquet or DATA.")
        found = api.search_run(self.run, self.query, self.k, within=self.within, **given)
        queries, text = [], []
        for query, hits in zip(self.query, found, strict=True):
            queries.append({"query": query, "hits": hits})
            text += [query, columns((f"  {hit.similarity:.3f}", *_shown(hit), hit.label) for hit in hits)]
        return {"run": self.run, "in": self.within, "queries": queries}, "\n".join(text)


@dataclass(frozen=True, kw_only=True)
class Audit(Form):
    """What may be wrong with data, by an encoder: copies, leaks across splits, foreign samples, labels, classes.

    Ranked lists as csv, and a page with the samples side by side; nothing is deleted.
    """

    run: str = argument("Folder of a run.", needed=True, path="input")
    data: str = argument("What is looked at: all that nearfar train takes.", needed=True, path="data")
    out: str | None = option(
        None, "Folder of the lists and the page; when not given, audit in the run's folder.", short="-o", path="output"
    )
    drop: str | None = option(
        None,
        "Write cleaned.csv without what is flagged as one of these, with commas between: leaks, duplicates, outliers, "
        "labels, unreadable.",
        local=True,
    )
    label_column: str | None = _label_column()
    seed: int = option(0, "Key of the folds.", least=0)
    cache: str = _cache()
    device: str | None = _device()
    threads: int | None = _threads()

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Audit."""
        drop = [kind.strip() for kind in (self.drop or "").split(",") if kind.strip()]
        found = api.audit(self.run, self.data, drop=drop, **given)
        lines = [(one.title, f"{one.flagged} flagged", f"{one.name}.csv") for one in found.rankings]
        others = ("classes", found.confusable), ("clusters", found.clusters), ("defects", found.defects)
        lines += [(name.capitalize(), f"{len(some)} found", f"{name}.csv") for name, some in others]
        lines.append(("Unreadable", f"{len(found.skipped)} left out", "unreadable.csv"))
        text = [columns(lines), *found.notes]
        if found.cleaned is not None:
            text.append(f"cleaned {found.cleaned}: {found.dropped} samples are left out (dropped.csv says why)")
        text.append(f"page    {found.path / 'audit.html'}")
        counts = {one.name: {"flagged": one.flagged, "ranked": len(one)} for one in found.rankings}
        more = {name: len(some) for name, some in others} | {"unreadable": len(found.skipped), "notes": found.notes}
        page = found.path / "audit.html"
        return {
            "run": self.run,
            "out": found.path,
            "page": page,
            "cleaned": found.cleaned,
            **counts,
            **more,
        }, "\n".join(text)


@dataclass(frozen=True, kw_only=True)
class Export(Form):
    """Write an encoder in the form of another library, with the same vectors."""

    run: str = argument("Folder of a run, or the name of a published encoder.", needed=True, path="input")
    to: str = automatic(f"The form: {', '.join(TARGETS)}.", needed=True, local=True)
    out: str = automatic("Folder that is written; new or empty.", short="-o", path="output", needed=True, local=True)

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Export."""
        folder = api.export(self.run, self.to, self.out)
        return {"run": self.run, "to": self.to, "out": folder}, f"{self.to}: {folder}"


@dataclass(frozen=True, kw_only=True)
class Recommend(Form):
    """What users may want next, of a run on data of users and items: nothing that they have had.

    A user is a name of the data, or somebody new by what was had, as JSON: '{"history": ["Heat (1995)"]}'.
    """

    run: str = argument("Folder of a run.", needed=True, path="input")
    user: tuple[str, ...] = argument("Names of users, or mappings as JSON.", needed=True, many=True)
    k: int = option(10, "Items for each user.", short="-k", least=1, local=True)
    device: str | None = _device()
    threads: int | None = _threads()

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Recommend to each user."""
        found = api.recommend(self.run, [_user(word) for word in self.user], self.k, **given)
        text = []
        for one in found:
            text.append(one.query + (f" ({one.note})" if one.note else ""))
            if one.had:
                last = "; ".join(item.title or item.key for item in one.had[:_LAST])
                text.append(f"  had {len(one.had)}, last {last}")
            text.append(columns((f"  {item.score:.3f}", item.key, item.title) for item in one.items))
        users = [{"user": one.query, "note": one.note, "had": len(one.had), "items": one.items} for one in found]
        return {"run": self.run, "users": users}, "\n".join(text)


def _user(word: str) -> Any:
    """A user as the api takes it: a name, or what JSON says."""
    if not word.lstrip().startswith("{"):
        return word
    try:
        return json.loads(word)
    except ValueError as error:
        raise ConfigError(f"The user {word:.100} is no JSON: {error}.") from None


@dataclass(frozen=True, kw_only=True)
class Report(Form):
    """Write report.html of each run anew, from its encoder and its data.

    A run that was stopped before its evaluation gets one now.
    """

    run: tuple[str, ...] = argument("Folders of runs.", needed=True, many=True, path="input")

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Write the pages."""
        pages = api.report(*self.run)
        return {"pages": pages}, "\n".join(map(str, pages))


@dataclass(frozen=True, kw_only=True)
class List(Form):
    """Names of what there is, and a line about each."""

    what: str = argument(f"One of {', '.join(KINDS)}.", needed=True)

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Look them up."""
        found = names(self.what)
        return {"what": self.what, "names": found}, columns(found.items())


@dataclass(frozen=True, kw_only=True)
class Completion(Form):
    """Print the script that lets a shell complete commands, options and names.

    bash: eval "$(nearfar completion bash)" in ~/.bashrc; zsh: nearfar completion zsh > a folder of $fpath, as _nearfar;
    fish: nearfar completion fish > ~/.config/fish/completions/nearfar.fish.
    """

    shell: str = argument("bash, zsh or fish.", needed=True)

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Make the script."""
        from nearfar.cli.completion import script

        text = script(self.shell)
        return {"shell": self.shell, "script": text}, text


def form_of(command: str) -> type[Form]:
    """The class of a command of `COMMANDS`."""
    found: type[Form] = globals()[command.title()]
    return found


def outputs(form: Form) -> list[str]:
    """The places that a command writes to, as they are tried before it starts."""
    match form:
        case Train() | Demo():
            return [form.out or str(Path("runs").absolute())]
        case Embed() | Export():
            return [form.out]
        case Audit():
            return [form.out or (str(Path(form.run) / "audit") if Path(form.run).is_dir() else "audit")]
        case Report():
            return [run for run in form.run if Path(run).is_dir()]
    return []


def _shown(hit: Any) -> list[str]:
    """A hit's path or key, and what it says in one line."""
    text = " ".join((hit.text or "").split())
    place = hit.path or hit.key
    return [place] if not text else [Path(place).name, text if len(text) <= _LINE else text[: _LINE - 3] + "..."]


def _of_run(run: Any) -> Result:
    page = Path(run.path) / "report.html"
    report = page if page.exists() else None
    lines = [f"run     {run.path}"] + ([f"report  {page}"] if report else [])
    table = [] if run.evaluation is None else [_table(run.evaluation)]
    return {"path": run.path, **_judged(run.evaluation), "report": report}, "\n".join(table + lines)


def _judged(evaluation: Any) -> dict[str, Any]:
    """An evaluation with its verdict, as text and as a level; None where there is none."""
    verdict = None if evaluation is None else evaluation.verdict()
    said = (None, None) if verdict is None else (str(verdict), verdict.level)
    return {"verdict": said[0], "level": said[1], "evaluation": evaluation}


def _table(found: Any) -> str:
    """The evaluation, with its verdict in the last line."""
    from nearfar.evaluation.table import lines

    return "\n".join(lines(found))
