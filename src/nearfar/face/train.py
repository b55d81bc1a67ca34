"""Train an encoder by contrast: from data to a run folder with an encoder, a verdict and a report."""

import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from nearfar.config import TrainConfig, seconds
from nearfar.errors import ConfigError, RunError
from nearfar.face import options as opts
from nearfar.face.prepare import Ready, assemble, lasting, prepare
from nearfar.progress import silenced

if TYPE_CHECKING:
    from nearfar.face.run import Run
    from nearfar.training.folder import RunFolder
    from nearfar.training.loop import State

_log = logging.getLogger("nearfar")


def train(
    data: str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    init: str | os.PathLike[str] | None = None,
    config: str | os.PathLike[str] | None = None,
    quiet: bool = False,
    started: float | None = None,
    **options: Any,
) -> "Run":
    """Train on `data` and return the finished run, written to `out` (made by name under `runs/` when not given).

    Every option of the command line is a keyword: method, encoder, budget or epochs or steps, batch_size, lr,
    temperature, image_size ... What is not given is chosen, logged and written to `config.toml`, which `config` takes
    back. `resume` goes on with the run in `out`, whose settings it keeps; `init` starts from the encoder of another
    run. `started` is the `time.monotonic()` from which a budget counts.

    Ctrl-C and SIGTERM save and raise KeyboardInterrupt. Raises UserError before any work for what cannot be, and
    TrainingError when training fails; what was trained is kept.
    """
    started = time.monotonic() if started is None else started
    if data is not None:
        options["data"] = data
    if init is not None:
        if options.get("pretrained") is not None:
            raise ConfigError("init and pretrained contradict each other: give one of them.")
        options["pretrained"] = _run_of(init)
    with silenced(quiet):
        if resume:
            return _resume(out, options, config, quiet, started)
        if config is not None:
            if not Path(config).is_file():
                raise ConfigError(f"There is no file of settings at {str(config)!r}.")
            options = opts.overlay(opts.from_file(config), options)
        if not options.get("data"):
            raise ConfigError("There is no data to train on: name a folder, a manifest, or 'digits'.")
        return _start(options, out, quiet, started)


def _run_of(init: str | os.PathLike[str]) -> str:
    if not Path(init).is_dir():
        raise RunError(f"There is no run folder at {str(init)!r} to start from; a file of weights goes to pretrained.")
    return os.path.abspath(init)


def _start(options: dict[str, Any], out: str | os.PathLike[str] | None, quiet: bool, started: float) -> "Run":
    from nearfar.training.folder import RunFolder

    if out is not None:
        RunFolder(out).check_free()  # refuses before any work
    parts = assemble(options)
    folder = RunFolder(out) if out is not None else RunFolder(_free_folder(parts.config))
    ready = prepare(parts, fresh=True)
    folder.claim()
    with folder.locked():
        why = {choice.name: choice.why for choice in ready.choices}
        folder.write_config(opts.sections(ready.config), why)
        _tell(ready, folder)
        return _run(ready, folder, None, quiet, started)


def _resume(
    out: str | os.PathLike[str] | None,
    given: Mapping[str, Any],
    config: str | os.PathLike[str] | None,
    quiet: bool,
    started: float,
) -> "Run":
    from nearfar.training import checkpoint, loop
    from nearfar.training.folder import CONFIG, RunFolder

    if out is None:
        raise ConfigError("--resume goes on with the run in --out; name that folder.")
    folder = RunFolder(out)
    if not (folder.path / CONFIG).is_file():
        raise RunError(f"There is no run to go on with in {str(out)!r}.")
    with folder.locked():
        settled = opts.from_file(folder.path / CONFIG)
        if given.get("cache") is not None:  # makes no difference to the weights
            settled["cache"] = given["cache"]
        others = [] if config is None else ["config"]
        others += [name for name, value in given.items() if value is not None and not _same(name, value, settled)]
        if others:
            raise ConfigError(
                f"A resumed run keeps its settings, and these differ: {', '.join(sorted(others))}. "
                "Leave them out, or start a new run."
            )
        saved = checkpoint.latest(folder.path / "checkpoint")
        ready = prepare(assemble(settled), fresh=saved is None)
        if saved is None:
            _log.info("no checkpoint was written yet: starting from the first step")
            folder.rewind_metrics(0)
            return _run(ready, folder, None, quiet, started)
        state = loop.restore(ready.plan, saved)
        _log.info("going on from step %d", state.step)
        folder.rewind_metrics(state.step)
        return _run(ready, folder, state, quiet, started)


def _same(name: str, value: Any, settled: Mapping[str, Any]) -> bool:
    if name == "data":
        return lasting(str(value)) == settled.get(name)
    return name in settled and bool(value == settled[name])


def _run(ready: Ready, folder: "RunFolder", state: "State | None", quiet: bool, started: float) -> "Run":
    from nearfar.face import finish
    from nearfar.face.baselines import START
    from nearfar.face.sources import list_skipped
    from nearfar.training import loop
    from nearfar.training.checkpoint import save_tensors
    from nearfar.training.clock import Clock
    from nearfar.training.display import Display

    plan, length = ready.plan, ready.config.length
    if state is None:
        state = loop.State()
        machine = ready.config.machine
        folder.write_environment({"device": machine.device, "threads": machine.threads, "precision": machine.precision})
        if ready.config.model.pretrained:
            save_tensors(folder.path / "encoder" / START, ready.encoder.state_dict())
    clock = Clock(
        steps=length.steps or (length.epochs and length.epochs * plan.order.steps_per_epoch),
        seconds=None if length.budget is None else seconds(length.budget),
        spent=state.elapsed,
        started=started,
    )
    list_skipped(folder.path, ready.source)
    try:
        state = loop.fit(plan, clock, folder, state, Display(quiet=quiet))
    finally:
        list_skipped(folder.path, ready.source)  # there may be more now
    again = f"nearfar train --resume --out {quote(str(folder.path))}"
    if state.interrupted:
        raise KeyboardInterrupt(f"Stopped at step {state.step}; all is saved. Go on with: {again}")
    try:
        return finish.finish(ready, folder, state)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Stopped after the last step; the encoder is saved. Evaluation and report come with: {again}"
        ) from None


def _free_folder(config: TrainConfig) -> Path:
    """`runs/<data>-<method>`, with a number where that is taken."""
    stem = re.sub(r"[^\w.-]+", "-", Path(config.data.data).name).strip("-.") or "data"
    base = Path("runs") / f"{stem}-{config.model.method}"
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def _tell(ready: Ready, folder: "RunFolder") -> None:
    """Say what was chosen, and why."""
    _log.info("%d samples from %s; writing to %s", len(ready.source), ready.config.data.data, folder.path)
    if ready.source.skipped:
        _log.warning("%d inputs were skipped; see %s", len(ready.source.skipped), folder.path / "skipped.csv")
    for choice in ready.choices:
        _log.info("  %-17s %-12s %s", choice.name, choice.value, choice.why)
