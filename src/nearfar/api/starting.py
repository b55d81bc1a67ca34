"""Where a run begins: its folder, its settings and its checkpoint, as the first rank decides them for all."""

import logging
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nearfar import given, torchrun
from nearfar.api import options as opts
from nearfar.api import teacher
from nearfar.api.baselines import START
from nearfar.api.load import folder_of
from nearfar.api.prepare import Ready, assemble
from nearfar.api.sources import SKIPPED, list_unreadable, tell_unreadable
from nearfar.config import NAMED, TrainConfig, seconds
from nearfar.data.skipped import write_skipped
from nearfar.errors import ConfigError, RunError, UnknownName
from nearfar.files import write as write_file
from nearfar.modalities import registry as modalities
from nearfar.options import listed
from nearfar.training import checkpoint, loggers
from nearfar.training.checkpoint import Saved
from nearfar.training.clock import Clock
from nearfar.training.encoder_folder import load_encoder_config, packed
from nearfar.training.run_folder import CONFIG, RunFolder
from nearfar.training.state import State

ANNOTATIONS = "annotations_skipped.csv"
_SLOW_START = 0.25  # of a budget
_log = logging.getLogger("nearfar")

Path_ = str | os.PathLike[str]


@dataclass(frozen=True)
class Start:
    """What a run begins with; plain data, the same on all ranks."""

    path: Path
    config: TrainConfig
    resumed: bool = False
    saved: Saved | None = None
    """The checkpoint to go on from."""
    longer: bool = False
    """Whether the run was given another length than before."""


def new(
    locks: ExitStack, *, out: Path_ | None, init: Path_ | None, config: Path_ | None, options: Mapping[str, Any]
) -> Start:
    """A new run, in a folder that is made and stays locked as long as `locks`; raises UserError.

    The folder goes again where no run comes to be in it.
    """
    if out is not None:
        locks.enter_context(RunFolder(out).claimed())
    settings = assemble(options_of(init=init, config=config, options=options))
    loggers.check(listed(settings.watch.log))
    if out is None:
        folder = RunFolder(_free_folder(settings))
        locks.enter_context(folder.claimed())
        return Start(folder.path, settings)
    return Start(Path(out), settings)


def options_of(*, init: Path_ | None, config: Path_ | None, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Options of a new run: those given, over those of the file `config` and of the run `init`; raises UserError."""
    if config is not None:
        options = opts.overlay(_settings(config, options), options)
    if not options.get("data"):
        raise ConfigError("There is no data to train on: name a folder, a manifest, or 'digits'.")
    return _from_run(init, options)


def resumed(
    locks: ExitStack, *, out: Path_ | None, init: Path_ | None, config: Path_ | None, options: Mapping[str, Any]
) -> Start:
    """The run in `out`, which stays locked as long as `locks`; raises UserError.

    Its settings stay, but for its length and for the cache, which makes no difference to the weights.
    """
    if out is None:
        raise ConfigError("--resume goes on with the run in --out; name that folder.")
    folder = RunFolder(out)
    if not (folder.path / CONFIG).is_file():
        raise RunError(f"There is no run to go on with in {str(out)!r}.")
    locks.enter_context(folder.locked())
    settled = opts.from_file(folder.path / CONFIG)
    settled = opts.earlier(str(settled.get("modality"))) | settled
    free = {name: value for name, value in options.items() if name in ("cache", *opts.LENGTHS)}
    others = [] if config is None else ["config"]
    others += [] if init is None or _of_run(init) == settled.get("pretrained") else ["init"]
    others += [name for name, value in options.items() if name not in free and not _same(name, value, settled)]
    if others:
        raise ConfigError(
            f"A resumed run keeps its settings, and these differ: {', '.join(sorted(others))}. "
            "Leave them out, or start a new run."
        )
    saved = checkpoint.latest(folder.path / "checkpoint")
    if saved is not None:
        folder.check_settings(saved.state.get("settings"))
    longer = any(settled.get(name) != free[name] for name in opts.LENGTHS if name in free)
    settings = assemble(opts.overlay(settled, free))
    loggers.check(listed(settings.watch.log))
    return Start(
        folder.path,
        settings,
        resumed=True,
        saved=saved,
        longer=longer,
    )


def restarted(out: Path_ | None) -> bool:
    """Whether torchrun has started this process anew, after a run had begun in `out`."""
    return torchrun.place().restarts > 0 and out is not None and RunFolder(out).is_run()


def clock(ready: Ready, state: State, started: float) -> Clock:
    """The clock of the run, which counts from `started`."""
    length, step_budget = ready.config.length, None
    if length.budget is None:
        step_budget = length.steps or (length.epochs or 0) * ready.plan.order.steps_per_epoch
    return Clock(
        steps=step_budget,
        seconds=None if length.budget is None else seconds(length.budget),
        spent=state.elapsed,
        started=started,
    )


def write(start: Start, ready: Ready, state: State, clock: Clock, folder: RunFolder) -> None:
    """Write what is known before the first step, and say it."""
    if start.saved is None:
        machine = ready.config.machine
        facts = {"device": machine.device, "threads": machine.threads, "precision": machine.precision}
        folder.write_environment(facts | {"ranks": ready.plan.ranks.world})
        anchored = ready.config.optimisation.anchor > 0
        foreign = (
            ready.config.model.pretrained or ready.encoder.from_weights or given.is_given(ready.config.model.encoder)
        )
        if foreign or anchored:
            write_file(folder.path / "encoder" / START, packed({**ready.encoder.state_dict(), **ready.came}))
    teacher.keep(ready.source, folder.path)
    if list_unreadable(folder.path, ready.source, ready.judges.test):
        tell_unreadable(ready.source, ready.judges.test, listed=folder.path / SKIPPED)
    _list_annotations(ready, folder)
    if start.resumed:
        _go_on(start, ready, state, clock, folder)
    else:
        folder.write_config(asdict(ready.config), {choice.name: choice.why for choice in ready.choices})
        _tell(ready, folder)
    if clock.seconds is not None and clock.elapsed - state.elapsed > _SLOW_START * (clock.seconds - state.elapsed):
        _log.warning(
            "Start-up took %.0f s (imports, reading the data) of the budget of %.0f s: little is left for training. "
            "Give a longer --budget, or --steps.",
            clock.elapsed - state.elapsed,
            clock.seconds,
        )


def _list_annotations(ready: Ready, folder: RunFolder) -> None:
    """List what of the annotations cannot be used, and say how much that is."""
    both = [one.annotations for one in (ready.source, ready.judges.test) if one is not None]
    lost = {(one.key, one.reason): one for some in both if some is not None for one in some.skipped}
    if lost:
        write_skipped(folder.path / ANNOTATIONS, lost.values())
        first = next(iter(lost.values()))
        _log.warning(
            "%d annotations are missing, or wrong and left out or cut, such as %s (%s). All are listed in %s.",
            *(len(lost), first.key, first.reason, folder.path / ANNOTATIONS),
        )


def _go_on(start: Start, ready: Ready, state: State, clock: Clock, folder: RunFolder) -> None:
    if start.saved is None:
        _log.info("there is no whole checkpoint: starting from the first step")
    else:
        _log.info("going on from step %d", state.step)
    over = clock.done(state.step, 0.0)
    if start.longer:
        if over:
            raise ConfigError(
                f"The run has {state.step} steps and {clock.elapsed:.0f} s behind it, this start included, and "
                "--budget, --steps and --epochs are lengths of the whole run: give more than that."
            )
        why = folder.read_config().get("chosen", {})
        folder.write_config(asdict(ready.config), why if isinstance(why, dict) else {})
        done = clock.progress(max(0, state.step - 1))  # that of the last step, as a run of the new length counts
        state.recorded, state.probed = min(state.recorded, done), min(state.probed, done)
    elif over and state.step:
        length = {name: getattr(ready.config.length, name) for name in opts.LENGTHS}
        what = next(f"--{name} {value}" for name, value in length.items() if value is not None)
        _log.info("the run has reached its length, %s, and is judged again; give a longer one to train on", what)
    folder.rewind_metrics(state.step)


def _from_run(init: Path_ | None, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options, and those by which the encoder of the run `init` was made where others are not given."""
    if init is None:
        return options
    if options.get("pretrained") is not None:
        raise ConfigError("init and pretrained contradict each other: give one of them.")
    run = _of_run(init)
    return {**made_by(run), **options, "pretrained": run}


def made_by(run: str) -> dict[str, Any]:
    """The options by which the encoder of a run was made; raises RunError."""
    config = load_encoder_config(folder_of(run))
    names = {"encoder", "width", *(field.name for field in fields(modalities.options(str(config["modality"]))))}
    made = {name: config[name] for name in names if config.get(name) is not None}
    return {**opts.earlier(str(config["modality"])), **made}


def _settings(config: Path_, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options in a file, or those that go by a name; raises ConfigError and UnknownName."""
    if Path(config).is_file():
        return opts.from_file(config)
    name = os.fspath(config)
    if os.sep in name or name.endswith(".toml"):
        raise ConfigError(f"There is no file of settings at {name!r}.")
    if name not in NAMED:
        raise UnknownName("file of settings, and no settings,", name, NAMED)
    if not options.get("data"):
        return NAMED[name]
    modality = options.get("modality") or modalities.find(os.fspath(options["data"]), options)
    return {**NAMED[name], **modalities.load(modality).named.get(name, {})}


def _of_run(init: Path_) -> str:
    if not Path(init).is_dir():
        raise RunError(
            f"There is no run folder at {str(init)!r} to start from; weights of others are an encoder and pretrained: "
            "--encoder NAME --pretrained FILE."
        )
    return os.path.abspath(init)


def _same(name: str, value: Any, settled: Mapping[str, Any]) -> bool:
    if name == "data":
        return modalities.lasting(os.fspath(value)) == settled.get(name)
    return name in settled and bool(value == settled[name])


def _free_folder(config: TrainConfig) -> Path:
    """`runs/<data>-<method>`, with a number where that is taken."""
    stem = re.sub(r"[^\w.-]+", "-", Path(given.short(config.data.data)).name).strip("-.") or "data"
    base = Path("runs") / f"{stem}-{given.short(config.model.method)}"
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def _tell(ready: Ready, folder: RunFolder) -> None:
    """Say what was chosen, and why."""
    _log.info("%d samples from %s; writing to %s", len(ready.source), ready.config.data.data, folder.path)
    for choice in ready.choices:
        _log.info("  %-17s %-12s %s", choice.name, choice.value, choice.why)
