"""Train an encoder by contrast: from data to a run folder with an encoder, a verdict and a report."""

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, NamedTuple

from nearfar import torchrun
from nearfar.api import options as opts
from nearfar.api.prepare import Ready, assemble, lasting, prepare
from nearfar.config import TrainConfig, seconds
from nearfar.errors import ConfigError, DataError, MachineError, OutputError, RunError
from nearfar.progress import silenced

if TYPE_CHECKING:
    from nearfar.api.run import Run
    from nearfar.contract import Rows
    from nearfar.training.checkpoint import Saved
    from nearfar.training.loop import State
    from nearfar.training.run_folder import RunFolder

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
    temperature ... What is not given is chosen, logged and written to `config.toml`, which `config` takes
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
    from nearfar.training.run_folder import RunFolder

    here = torchrun.place()
    quiet = quiet or here.rank > 0
    if here.most_restarts and out is None:
        raise ConfigError("torchrun --max-restarts needs --out, where what was trained is found again.")
    with silenced(quiet):
        if here.restarts and out is not None and RunFolder(out).is_run():
            return _resume(out, {}, None, quiet, started)
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


class _Begun(NamedTuple):
    """What the first rank began, as the others need it to follow."""

    path: Path
    settings: dict[str, Any]
    usable: "Rows"
    saved: "Saved | None"


class _Own(NamedTuple):
    ready: Ready
    state: "State | None"


_Begin = Callable[[ExitStack], tuple[_Own, _Begun]]
"""Opens or goes on with a run folder, which stays locked as long as the stack, and prepares what the loop needs."""


def _start(options: dict[str, Any], out: str | os.PathLike[str] | None, quiet: bool, started: float) -> "Run":
    from nearfar.training.run_folder import CONFIG, RunFolder

    def begin(held: ExitStack) -> tuple[_Own, _Begun]:
        if out is not None:
            RunFolder(out).check_free()  # refuses before any work
        parts = assemble(options)
        folder = RunFolder(out) if out is not None else RunFolder(_free_folder(parts.config))
        ready = prepare(parts, fresh=True)
        _check_together(ready, torchrun.place().world)
        folder.claim()
        held.enter_context(folder.locked())
        why = {choice.name: choice.why for choice in ready.choices}
        folder.write_config(opts.sections(ready.config), why)
        _tell(ready, folder)
        settings = opts.from_file(folder.path / CONFIG) if torchrun.place().world > 1 else {}
        return _Own(ready, None), _Begun(folder.path, settings, ready.usable, None)

    return _together(begin, options.get("device"), quiet, started)


def _resume(
    out: str | os.PathLike[str] | None,
    given: Mapping[str, Any],
    config: str | os.PathLike[str] | None,
    quiet: bool,
    started: float,
) -> "Run":
    from nearfar.training import checkpoint, loop
    from nearfar.training.run_folder import CONFIG, RunFolder

    if out is None:
        raise ConfigError("--resume goes on with the run in --out; name that folder.")

    def begin(held: ExitStack) -> tuple[_Own, _Begun]:
        folder = RunFolder(out)
        if not (folder.path / CONFIG).is_file():
            raise RunError(f"There is no run to go on with in {str(out)!r}.")
        held.enter_context(folder.locked())
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
        state = None if saved is None else loop.restore(ready.plan, saved)
        if state is None:
            _log.info("there is no whole checkpoint: starting from the first step")
        else:
            _log.info("going on from step %d", state.step)
        folder.rewind_metrics(0 if state is None else state.step)
        return _Own(ready, state), _Begun(folder.path, settled, ready.usable, saved)

    return _together(begin, given.get("device"), quiet, started)


def _together(begin: _Begin, device: str | None, quiet: bool, started: float) -> "Run":
    """Begin on the first rank, follow on the others, and train on all."""
    from nearfar.training import loop, ranks, syncnorm
    from nearfar.training.run_folder import RunFolder

    with ExitStack() as held:
        all_ranks = held.enter_context(ranks.opened(device))
        own: list[_Own] = []

        def lead() -> _Begun:
            mine, begun = begin(held)
            own.append(mine)
            return begun

        begun = all_ranks.on_first(lead)
        if not own:
            ready = prepare(assemble(begun.settings), fresh=False, usable=begun.usable)
            state = None if begun.saved is None else loop.restore(ready.plan, begun.saved)
            own.append(_Own(ready, state))
        ready, state = own[0]
        ready.plan = replace(ready.plan, ranks=all_ranks)
        if ready.config.optimisation.sync_norm and all_ranks.world > 1:
            syncnorm.convert(ready.plan.method, ready.plan.device.type)
        all_ranks.broadcast_tensors(
            list(ready.plan.method.state_dict().values())
        )  # pretrained ones, which the first rank has
        return _run(ready, RunFolder(begun.path), state, quiet, started)


def _check_together(ready: Ready, world: int) -> None:
    """Raise ConfigError for what ranks cannot do together."""
    shuffled = getattr(ready.config.method_options, "norm_group", 0) > 0
    if ready.config.optimisation.sync_norm and shuffled:
        raise ConfigError("sync_norm and norm_group contradict each other: keys are shuffled among small norms.")
    ready.plan.order.part(0, world)


def _same(name: str, value: Any, settled: Mapping[str, Any]) -> bool:
    if name == "data":
        return lasting(str(value)) == settled.get(name)
    return name in settled and bool(value == settled[name])


def _run(ready: Ready, folder: "RunFolder", state: "State | None", quiet: bool, started: float) -> "Run":
    from nearfar.api import finish
    from nearfar.api.baselines import START
    from nearfar.api.sources import list_skipped
    from nearfar.training import loop
    from nearfar.training.clock import Clock
    from nearfar.training.display import Display
    from nearfar.training.encoder_folder import save_tensors

    plan, length = ready.plan, ready.config.length
    first = plan.ranks.first
    if state is None:
        state = loop.State()
        machine, world = ready.config.machine, plan.ranks.world
        facts = {"device": machine.device, "threads": machine.threads, "precision": machine.precision, "ranks": world}
        if first:
            folder.write_environment(facts)
            if ready.config.model.pretrained:
                save_tensors(folder.path / "encoder" / START, ready.encoder.state_dict())
    clock = Clock(
        steps=length.steps or (length.epochs and length.epochs * plan.order.steps_per_epoch),
        seconds=None if length.budget is None else seconds(length.budget),
        spent=state.elapsed,
        started=started,
    )
    if first:
        list_skipped(folder.path, ready.source)
    try:
        state = loop.fit(plan, clock, folder, state, Display(quiet=quiet))
    finally:
        if first:
            try:
                list_skipped(folder.path, ready.source)  # there may be more now
            except (OutputError, MachineError) as error:  # of a full disk, more is said by what ended the run
                _log.warning("%s", error)
    again = f"nearfar train --resume --out {quote(str(folder.path))}"
    if state.interrupted:
        raise KeyboardInterrupt(f"Stopped at step {state.step}; all is saved. Go on with: {again}")
    ready.source.skipped[:] = plan.ranks.gather_objects(ready.source.skipped)
    try:
        found = finish.finish(ready, folder, state) if first else None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Stopped after the last step; the encoder is saved. Evaluation and report come with: {again}"
        ) from None
    except (RunError, DataError, OutputError, MachineError) as error:
        raise type(error)(f"{error} The encoder is saved; evaluation and report come with: {again}") from None
    return found if found is not None and plan.ranks.world == 1 else _shared(found, ready)


def _shared(found: "Run | None", ready: Ready) -> "Run":
    """The finished run that the first rank has `found`, on every rank, its encoder whitened as there."""
    from nearfar.api.run import Run
    from nearfar.whitening import Whitening

    encoder, ranks = ready.encoder.eval(), ready.plan.ranks
    facts: dict[str, Any] = {}
    if found is not None:
        facts = {name: value for name, value in vars(found).items() if name != "encoder"}
        facts["whitening"] = {name: value.cpu() for name, value in encoder.output.state_dict().items()}
    facts = ranks.broadcast(facts)
    whitening = facts.pop("whitening")
    if whitening and found is None:
        encoder.output = Whitening(encoder.dim)
        encoder.output.load_state_dict(whitening)
        encoder.to(ready.plan.device)
        encoder.config["whitened"] = True
    return found or Run(encoder=encoder, **facts)


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
