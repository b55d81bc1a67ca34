"""Fine-tune an encoder for a task: with several amounts of labels, beside training from scratch and a linear probe."""

import logging
import os
import re
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from nearfar.api.arms import ARMS, PROBE, TUNED, Arm, Asked, arms_of, evaluation_of, probed, trained
from nearfar.api.embed import embed
from nearfar.errors import ConfigError, RunError, must
from nearfar.progress import hushed, track

if TYPE_CHECKING:
    from nearfar.api.run import Run

_SAID = {"method", "init", "encoder", "config", "evaluate", "label_draw", "frozen", "every_domain"}
ASKED = "finetune.json"
_log = logging.getLogger("nearfar")


def finetune(
    encoder: str | os.PathLike[str] | None = None,
    data: Any = None,
    *,
    task: str = "classify",
    how: str = "full",
    labels: str = "100%",
    draws: int = 5,
    compare: bool = True,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    quiet: bool = False,
    started: float | None = None,
    **options: Any,
) -> "Run":
    """Fine-tune the encoder of a run, or a published one, on the labels of `data`; returns a run of its own, in `out`.

    `labels` are amounts of labels, parted by commas: shares such as `1%,10%,100%`, or numbers of each class such as
    `1,5`; the run in `out` has the largest. Fewer than all are drawn `draws` times. With `how` "full" all of the
    encoder learns, with "probe" the head alone. Unless `compare` is False, each amount is also given to a linear probe
    of the encoder as it was, and to the same network untrained, for as many steps; what else the task compares with is
    trained, too. Probabilities are calibrated by a
    tenth of the labels, where there are enough. `options` are those of `nearfar.train`; each training has 200 steps
    where no length is given. What is stopped goes on with `resume`. Raises UserError before any work for what cannot
    be, and as `nearfar.train`.
    """
    from nearfar import torchrun
    from nearfar.downstream import registry
    from nearfar.files import locked
    from nearfar.progress import heard

    if torchrun.place().world > 1:
        raise ConfigError("nearfar finetune runs alone; under torchrun: nearfar train --init RUN --method classify.")
    if resume:
        if out is None:
            raise ConfigError("--resume goes on with the run in --out; name that folder.")
        if encoder is not None or data is not None or options:
            raise ConfigError("A fine-tuning that goes on keeps its settings: give --out alone.")
        folder, asked = Path(out), _read(Path(out))
    else:
        if encoder is None or data is None:
            raise ConfigError("Fine-tuning needs an encoder and data: the folder of a run, and labelled samples.")
        for name in registry.load(task).needs:
            if options.get(name) is None:
                raise ConfigError(f"--task {task} needs --{name.replace('_', '-')}.")
        if options.keys() & _SAID:
            raise ConfigError(f"The fine-tuning says itself what {', '.join(sorted(options.keys() & _SAID))} is.")
        must(how in ("full", "probe"), "how must be full or probe", got=how)
        must(isinstance(draws, int) and draws >= 2, "draws must be at least 2", got=draws)
        asked = Asked(task, _lasting(encoder), how, labels, draws, compare, options)
        must(bool(asked.amounts), "labels must name an amount", got=labels)
        folder = Path(out) if out is not None else _free(asked.run, task)
    with heard(quiet=quiet):
        main = _main(asked, folder, data, resume=resume, quiet=quiet, started=started)
        with locked(folder / ".comparison.lock", what=repr(str(folder))):
            try:
                return _judged(asked, main, data)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"Stopped; what is done is kept. Go on with: {_again(folder)}") from None


def _main(asked: Asked, folder: Path, data: Any, *, resume: bool, quiet: bool, started: float | None) -> "Run":
    """The training that the folder is a run of; what was asked for is written beside it first."""
    from nearfar.api.train import train
    from nearfar.files import write_json
    from nearfar.training.run_folder import RunFolder

    run = RunFolder(folder)
    try:
        if resume and run.is_run():
            return train(out=folder, resume=True, evaluate=False, quiet=quiet)
        if not resume:
            run.claim()
            write_json(folder / ASKED, vars(asked))
        options = asked.settings(TUNED, asked.amounts[-1], 0)
        return train(data, out=folder, evaluate=False, quiet=quiet, started=started, **options)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped; what is done is kept. Go on with: {_again(folder)}") from None
    finally:
        if not run.is_run():
            with suppress(OSError):
                (folder / ASKED).unlink(missing_ok=True)
                folder.rmdir()


def _judged(asked: Asked, main: "Run", data: Any) -> "Run":
    """All that it is compared with, and the evaluation that comes of it."""
    from nearfar.api.finish import EMBEDDINGS, EVALUATION
    from nearfar.api.heads import JUDGED
    from nearfar.api.report import report
    from nearfar.downstream import registry
    from nearfar.downstream.task import HEAD
    from nearfar.files import read_json, write_json

    task, folder = registry.load(asked.task), main.path
    place = folder / HEAD / JUDGED
    if not place.is_file():
        _log.warning("Nothing judges: there is no test part, and no labels were held out.")
        return main
    kept = folder / f"{ARMS}.json"
    done: dict[str, Any] = read_json(kept) if kept.is_file() else {}
    done[Arm(TUNED, asked.amounts[-1], 0).name] = read_json(place)
    arms = arms_of(asked, main)
    waiting = [arm for arm in arms if arm.name not in done]
    for arm in track(waiting, "compare"):
        done[arm.name] = probed(asked, main, arm) if arm.system == PROBE else trained(asked, main, arm, data)
        write_json(kept, done)
        _log.info("%s, %s, draw %d: %d of %d done", arm.system, arm.labels.name, arm.draw + 1, len(done), len(arms))
    shutil.rmtree(folder / ARMS, ignore_errors=True)
    rows = []
    for amount in asked.amounts:
        found: dict[str, list[Any]] = {}
        for arm in arms:
            if arm.labels == amount:
                found.setdefault(arm.system, []).append(task.judged(done[arm.name]))
        rows += task.compare(found, amount.setting)
    evaluation = evaluation_of(asked, main, rows, task.judged(read_json(place)).notes)
    write_json(folder / EVALUATION, evaluation.to_json())
    embed(main.encoder, _part(main)).save(folder / EMBEDDINGS)
    with hushed():
        report(folder)
    return replace(main, evaluation=evaluation)


def _part(main: "Run") -> str:
    """The training part of the data of a run."""
    from nearfar.api.judging import parts_of
    from nearfar.api.options import from_file
    from nearfar.modalities import registry
    from nearfar.modalities.opening import splits
    from nearfar.training.run_folder import CONFIG

    data = str(from_file(main.path / CONFIG)["data"])
    return parts_of(data, splits(registry.load(main.encoder.config["modality"]), data))[0]


def _read(folder: Path) -> Asked:
    from nearfar.files import read_json

    try:
        return Asked(**read_json(folder / ASKED))
    except (OSError, ValueError, TypeError):
        raise RunError(f"There is no fine-tuning to go on with in {str(folder)!r}.") from None


def _lasting(encoder: str | os.PathLike[str]) -> str:
    """The folder of a run as an absolute path, or the name of a published encoder as it is; raises UserError."""
    from nearfar.modalities import registry

    name = os.fspath(encoder)
    if os.path.isdir(name):
        return os.path.abspath(name)
    if registry.published(name) is None:
        raise RunError(f"There is no run folder at {name!r}; published encoders are named timm:NAME, st:FOLDER ...")
    return name


def _free(run: str, task: str) -> Path:
    """`runs/<run>-<task>`, with a number where that is taken."""
    stem = re.sub(r"[^\w.-]+", "-", Path(run).name).strip("-.") or "encoder"
    base = path = Path("runs") / f"{stem}-{task}"
    number = 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def _again(folder: Path) -> str:
    return f"nearfar finetune --resume --out {quote(str(folder))}"
