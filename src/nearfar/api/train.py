"""Train an encoder by contrast: from data to a run folder with an encoder, a verdict and a report."""

import logging
import math
import os
import time
from contextlib import ExitStack
from shlex import quote
from typing import Any

from nearfar import given, torchrun
from nearfar.api import finish, starting
from nearfar.api import options as opts
from nearfar.api.prepare import Ready, prepare
from nearfar.api.run import Run
from nearfar.api.sources import list_unreadable
from nearfar.errors import ConfigError, DataError, MachineError, OutputError, RunError
from nearfar.evaluation.result import Evaluation
from nearfar.evaluation.task import describe
from nearfar.memory import advising
from nearfar.options import listed
from nearfar.progress import heard
from nearfar.training import loggers, loop, ranks
from nearfar.training.display import Display
from nearfar.training.run_folder import RunFolder
from nearfar.training.state import State, restore

_log = logging.getLogger("nearfar")


def train(
    data: Any = None,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    init: str | os.PathLike[str] | None = None,
    config: str | os.PathLike[str] | None = None,
    evaluate: bool = True,
    quiet: bool = False,
    started: float | None = None,
    **options: Any,
) -> Run:
    """Train on `data` and return the finished run, written to `out` (made by name under `runs/` when not given).

    Every option of the command line is a keyword: method, encoder, budget or epochs or steps, batch_size, lr,
    temperature ... What is not given is chosen, logged and written to `config.toml`, which `config` takes back. `data`
    may also be a torch Dataset, arrays, a data frame or a list, `encoder` a torch.nn.Module, `method` a `Method` or its
    class, and `views` a function that makes a view of a sample (docs/own.md). `init` starts from the encoder of another
    run, and takes its encoder, width and size. With `evaluate` False the run ends with its last step; `nearfar.report`
    judges it later. `started` is the `time.monotonic()` from which a budget counts.

    `resume` goes on with the run in `out`, whose settings it keeps. Only its length may be given anew: budget, epochs
    or steps are those of the whole run, what is done included, and the learning rate goes on as in a run of that
    length.

    What was chosen and how far it is are shown by a bar and by lines of the log "nearfar"; where nobody has set up
    logging, they go to standard error. `quiet` switches that off.

    Ctrl-C and SIGTERM save and raise KeyboardInterrupt. Raises UserError before any work for what cannot be, and
    TrainingError when training fails; what was trained is kept.
    """
    started = time.monotonic() if started is None else started
    given_options = {name: value for name, value in (options | {"data": data}).items() if value is not None}
    here = torchrun.place()
    if here.most_restarts and out is None:
        raise ConfigError("torchrun --max-restarts needs --out, where what was trained is found again.")
    quiet = quiet or here.rank > 0
    with (
        given.holding() as hold,
        heard(quiet=quiet),
        ranks.opened(options.get("device")) as together,
        ExitStack() as locks,
        loggers.opened() as log,
    ):
        options = given.adopted(given_options, hold)  # objects go by names

        # Where, with which settings, from which checkpoint: the first rank decides, and all have it as plain data.
        begin = starting.resumed if resume or starting.restarted(out) else starting.new
        start = together.on_first(begin, locks, out=out, init=init, config=config, options=options)

        # Open the data, settle what was left open, build.
        with advising("take a smaller encoder (--width), or a smaller --batch-size"):
            ready = prepare(start.config, together, run=start.path, fresh=start.saved is None, started=started)
        state = State() if start.saved is None else restore(ready.plan, start.saved)
        clock = starting.clock(ready, state, started)
        folder = RunFolder(start.path)
        together.on_first(starting.write, start, ready, state, clock, folder)
        if ready.plan.ranks.first:
            names = listed(ready.config.watch.log)
            log.open(names, folder.path, opts.flat(ready.config), state.step)

        # Train.
        try:
            loop.fit(ready.plan, clock, folder, state, Display(quiet=quiet), log)
        finally:
            _list_more(ready, folder)
        again = f"nearfar train --resume --out {quote(str(folder.path))}"
        if state.interrupted:
            raise KeyboardInterrupt(f"Stopped at step {state.step}; all is saved. Go on with: {again}")

        # Evaluate and report, on the first rank; all give back the same run.
        ready.source.skipped[:] = together.gather_objects(ready.source.skipped)
        try:
            found = together.on_first(finish.finish, ready, folder, state, evaluate=evaluate)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"Stopped after the last step; the encoder is saved. Evaluation and report come with: {again}"
            ) from None
        except (RunError, DataError, OutputError, MachineError) as error:
            raise type(error)(f"{error} The encoder is saved; evaluation and report come with: {again}") from None
        if found.evaluation is not None:
            log.write({"step": state.step, **_figures(found.evaluation)})
        encoder = finish.finished(ready.encoder, found)
        return Run(folder.path, encoder, found.evaluation, state.elapsed, found.seconds)


def _figures(found: Evaluation) -> dict[str, float]:
    """The figures of the trained encoder under names that dashboards group by task."""
    rows = [row for row in found.rows if row.system == found.systems[-1] and math.isfinite(row.value.mean)]
    return {f"{row.task}/{' '.join(filter(None, [row.metric, describe(row.setting)]))}": row.value.mean for row in rows}


def _list_more(ready: Ready, folder: RunFolder) -> None:
    """List what turned out unreadable on the way, however the run ended."""
    if ready.plan.ranks.first:
        try:
            list_unreadable(folder.path, ready.source)
        except (OutputError, MachineError) as error:  # of a full disk, more is said by what ended the run
            _log.warning("%s", error)
