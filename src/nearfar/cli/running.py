"""A parsed command becomes one call of the face, and its result text or JSON."""

import contextlib
import gc
import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nearfar
from nearfar import progress, torchrun
from nearfar.cli import STARTED
from nearfar.cli.listing import names
from nearfar.cli.parsing import Command
from nearfar.cli.showing import columns, plain
from nearfar.errors import ConfigError

Result = tuple[dict[str, Any], str]
"""The JSON object, and the text."""


def run(command: Command) -> None:
    """Do what the command says and print its result on standard output."""
    threads = command.given.get("threads")
    if threads is not None and command.name not in ("train", "demo"):
        # Read by torch and scikit-learn when they are first imported, which is later.
        os.environ["OMP_NUM_THREADS"] = str(threads)
    follows = torchrun.place().rank > 0  # of the ranks that train together, the first speaks
    with _conversation(command.form.quiet or (follows and command.name == "train")):
        found, text = _DO[command.name](command)
    if follows and command.name == "train":
        return
    if command.form.json:
        print(json.dumps(plain({"command": command.name} | found), ensure_ascii=False, allow_nan=False))
    elif text:
        print(text)


@contextlib.contextmanager
def _conversation(quiet: bool) -> Iterator[None]:
    """Progress goes to standard error, whoever speaks: standard output is for results."""
    logger = logging.getLogger("nearfar")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    progress.silence(quiet)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        progress.silence(False)
        logger.setLevel(level)
        logger.removeHandler(handler)


def _with_torch() -> Any:
    """The face of nearfar, torch imported: for the commands that need it.

    What torch makes meanwhile lives as long as the process. The garbage collector would look all of it over many times
    while it grows, and once more at exit: together a third of the time that `import torch` takes in a process of its
    own.
    """
    if "torch" not in sys.modules:
        gc.disable()
        try:
            importlib.import_module("torch")
            gc.freeze()
        finally:
            gc.enable()
    return nearfar


def _train(command: Command) -> Result:
    form = command.form
    if form.resume and form.out is None:
        raise ConfigError("--resume goes on with the run in --out DIR: give --out.")
    if form.data is None and not form.resume and form.config is None:
        raise ConfigError("nearfar train needs DATA: a folder, a manifest, tar shards, an array, or `digits`.")
    return _of_run(_with_torch().train(form.data, started=STARTED, **_without(command.given, "json")))


def _demo(command: Command) -> Result:
    return _of_run(_with_torch().demo(started=STARTED, **_without(command.given, "json")))


def _of_run(run: Any) -> Result:
    page = Path(run.path) / "report.html"
    found = {
        "path": run.path,
        "verdict": str(run.verdict),
        "evaluation": run.evaluation,
        "report": page if page.exists() else None,
    }
    places = [f"run     {run.path}"] + ([f"report  {page}"] if page.exists() else [])
    return found, "\n".join([*_table(run.evaluation), *places])


def _evaluate(command: Command) -> Result:
    form = command.form
    options = _without(command.given, "json", "quiet", "threads", "test")
    found = _with_torch().evaluate(form.run, form.train, form.test, **options)
    return {"run": form.run, "evaluation": found}, "\n".join(_table(found))


def _table(found: Any) -> list[str]:
    """The evaluation, with its verdict in the last line."""
    from nearfar.evaluation.table import lines

    return lines(found)


def _embed(command: Command) -> Result:
    form = command.form
    if Path(form.out).suffix not in (".parquet", ".npy"):
        raise ConfigError(f"--out must end in .parquet or .npy, got {form.out!r}.")
    options = _without(command.given, "run", "data", "out", "json", "quiet", "threads")
    made = _with_torch().embed_file(form.run, form.data, form.out, **options)
    left = f"; {made.skipped} samples could not be read (skipped.csv)" if made.skipped else ""
    text = f"{made.samples} vectors of {made.dim} dimensions in {made.path}{left}"
    return {"out": made.path, "samples": made.samples, "dim": made.dim, "skipped": made.skipped}, text


def _search(command: Command) -> Result:
    form = command.form
    if not form.query:
        raise ConfigError("nearfar search needs at least one QUERY after RUN.")
    within = form.within or str(Path(form.run) / "embeddings.parquet")
    if form.within is None and not Path(within).is_file():
        raise ConfigError(f"{form.run} keeps no embeddings: say where to look with --in FILE.parquet or --in DATA.")
    encoder = _with_torch().load(form.run)
    if Path(within).suffix in (".parquet", ".npy"):
        embeddings = nearfar.Embeddings.load(within)
    else:
        embeddings = nearfar.embed(encoder, within, **{n: v for n, v in command.given.items() if n == "device"})
    found, text = [], []
    for query in form.query:
        hits = nearfar.search(embeddings, query, form.k, encoder=encoder)
        rows = [{"key": hit.key, "similarity": hit.similarity, "label": hit.label} for hit in hits]
        found.append({"query": query, "hits": rows})
        text += [query, columns((f"  {hit.similarity:.3f}", hit.key, hit.label) for hit in hits)]
    return {"run": form.run, "in": within, "queries": found}, "\n".join(text)


def _report(command: Command) -> Result:
    form = command.form
    if not form.run:
        raise ConfigError("nearfar report needs at least one RUN.")
    pages = nearfar.report(*form.run)
    return {"pages": pages}, "\n".join(map(str, pages))


def _list(command: Command) -> Result:
    found = names(command.form.what)
    return {"what": command.form.what, "names": found}, columns(found.items())


def _without(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}


_DO: dict[str, Callable[[Command], Result]] = {
    "demo": _demo,
    "train": _train,
    "evaluate": _evaluate,
    "embed": _embed,
    "search": _search,
    "report": _report,
    "list": _list,
}
