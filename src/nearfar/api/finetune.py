"""Fine-tune an encoder for a task: with several amounts of labels, beside training from scratch and a linear probe."""

import logging
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from nearfar.api.embed import embed
from nearfar.errors import ConfigError, RunError, must
from nearfar.options import listed
from nearfar.progress import hushed, track

if TYPE_CHECKING:
    from nearfar.api.run import Run
    from nearfar.downstream.labels import Amount
    from nearfar.evaluation.result import Evaluation
    from nearfar.evaluation.task import Row

TUNED, PROBE, SCRATCH = "fine-tuned encoder", "linear probe", "training from scratch"
STEPS = 200
"""Of each training, where no length is given."""
_ARMS = "comparison"
_SETTLED = ("device", "threads", "precision")
"""What is measured once, for all trainings."""
_SAID = {"method", "init", "encoder", "config", "evaluate", "label_draw", "frozen"}
_START = {"encoder_rate": 0.3, "layer_decay": 0.8}
"""Of an encoder that a run has trained: its first layers suit the data already."""
_MEANINGS = {
    "calibration error": "How far the probabilities that are told are from how often they are right, in the mean.",
    "before calibration": "The same of the probabilities before they were calibrated.",
    "balanced accuracy": "The mean of the accuracies of the classes.",
    PROBE: "A linear classifier on the vectors of the encoder as it was.",
    SCRATCH: "The same network without its weights, trained on the same labels for as many steps.",
}
ASKED = "finetune.json"
EMBEDDINGS, EVALUATION = "embeddings.parquet", "evaluation.json"
_log = logging.getLogger("nearfar")


@dataclass(frozen=True)
class _Asked:
    """What `finetune` was asked for; written beside the run, so that it can go on."""

    task: str
    run: str
    how: str
    labels: str
    draws: int
    compare: bool
    options: dict[str, Any]

    @property
    def untrained(self) -> bool:
        """Whether the network can be had without its weights."""
        return os.path.isdir(self.run) or _weights_of(self.run) is None

    def settings(self, system: str, labels: "Amount", draw: int) -> dict[str, Any]:
        """The options of a training; those that the user gives come before them."""
        from nearfar.api.options import LENGTHS
        from nearfar.api.starting import made_by
        from nearfar.modalities import registry

        found: dict[str, Any] = {"method": self.task, "labels": labels.name, "label_draw": draw, "knn_every": 0.0}
        if not any(self.options.get(name) is not None for name in LENGTHS):
            found["steps"] = STEPS
        if self.how == "probe":
            found["frozen"] = system == TUNED
        if not os.path.isdir(self.run):
            name, weights = registry.parted(self.run)
            start = {} if system == SCRATCH else {"pretrained": weights or _weights_of(self.run) or "hub"}
            return found | {"encoder": name, **start}
        found |= _views_of(self.run)
        return found | (made_by(self.run) if system == SCRATCH else {"init": self.run, **_START})

    @property
    def amounts(self) -> "list[Amount]":
        """From few labels to many."""
        from nearfar.downstream.labels import amount

        found = {amount(word) for word in listed(self.labels)}
        return sorted(found, key=lambda one: (one.per_class is None, one.per_class or one.share))


@dataclass(frozen=True)
class _Arm:
    """One training, or one probe: a system, with so many labels, of which draw."""

    system: str
    labels: "Amount"
    draw: int

    @property
    def name(self) -> str:
        """A name for its folder."""
        return f"{self.system} {self.labels.name} {self.draw}".replace(" ", "-").replace("%", "pc")


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
    of the encoder as it was, and to the same network untrained, for as many steps. Probabilities are calibrated by a
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
        registry.load(task)
        if options.keys() & _SAID:
            raise ConfigError(f"The fine-tuning says itself what {', '.join(sorted(options.keys() & _SAID))} is.")
        must(how in ("full", "probe"), "how must be full or probe", got=how)
        must(isinstance(draws, int) and draws >= 2, "draws must be at least 2", got=draws)
        asked = _Asked(task, _lasting(encoder), how, labels, draws, compare, options)
        must(bool(asked.amounts), "labels must name an amount", got=labels)
        folder = Path(out) if out is not None else _free(asked.run, task)
    with heard(quiet=quiet):
        main = _main(asked, folder, data, resume=resume, quiet=quiet, started=started)
        with locked(folder / ".comparison.lock", what=repr(str(folder))):
            try:
                return _judged(asked, main, data)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"Stopped; what is done is kept. Go on with: {_again(folder)}") from None


def _main(asked: _Asked, folder: Path, data: Any, *, resume: bool, quiet: bool, started: float | None) -> "Run":
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
        options = {**asked.settings(TUNED, asked.amounts[-1], 0), **asked.options}
        return train(data, out=folder, evaluate=False, quiet=quiet, started=started, **options)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped; what is done is kept. Go on with: {_again(folder)}") from None
    finally:
        if not run.is_run():
            with suppress(OSError):
                (folder / ASKED).unlink(missing_ok=True)
                folder.rmdir()


def _judged(asked: _Asked, main: "Run", data: Any) -> "Run":
    """All that it is compared with, and the evaluation that comes of it."""
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
    kept = folder / f"{_ARMS}.json"
    done: dict[str, Any] = read_json(kept) if kept.is_file() else {}
    done[_Arm(TUNED, asked.amounts[-1], 0).name] = read_json(place)
    arms = _arms(asked, main)
    waiting = [arm for arm in arms if arm.name not in done]
    for arm in track(waiting, "compare"):
        done[arm.name] = _probed(asked, main, arm) if arm.system == PROBE else _trained(asked, main, arm, data)
        write_json(kept, done)
        _log.info("%s, %s, draw %d: %d of %d done", arm.system, arm.labels.name, arm.draw + 1, len(done), len(arms))
    shutil.rmtree(folder / _ARMS, ignore_errors=True)
    rows = []
    for amount in asked.amounts:
        found: dict[str, list[Any]] = {}
        for arm in arms:
            if arm.labels == amount:
                found.setdefault(arm.system, []).append(task.judged(done[arm.name]))
        rows += task.compare(found, amount.setting)
    evaluation = _evaluation(asked, main, rows, task.judged(read_json(place)).notes)
    write_json(folder / EVALUATION, evaluation.to_json())
    embed(main.encoder, _part(main)).save(folder / EMBEDDINGS)
    with hushed():
        report(folder)
    return replace(main, evaluation=evaluation)


def _arms(asked: _Asked, main: "Run") -> list[_Arm]:
    """What is trained and probed, the one in question last."""
    systems = [TUNED]
    if asked.compare:
        systems = [*([SCRATCH] if asked.untrained else []), *([PROBE] if asked.how == "full" else []), TUNED]
    return [
        _Arm(system, amount, draw)
        for amount in asked.amounts
        for draw in range(1 if amount.all else asked.draws)
        for system in systems
    ]


def _trained(asked: _Asked, main: "Run", arm: _Arm, data: Any) -> Any:
    """Train one arm in a folder of its own, which goes again; what its head is worth."""
    from nearfar.api.heads import JUDGED
    from nearfar.api.options import from_file
    from nearfar.api.train import train
    from nearfar.downstream.task import HEAD
    from nearfar.files import read_json
    from nearfar.training.run_folder import CONFIG, RunFolder

    place, settled = main.path / _ARMS / arm.name, from_file(main.path / CONFIG)
    with hushed():
        if RunFolder(place).is_run():
            train(out=place, resume=True, evaluate=False, quiet=True)
        else:
            options = {**asked.settings(arm.system, arm.labels, arm.draw), **asked.options}
            options |= {name: settled[name] for name in _SETTLED}
            if options.pop("budget", None) is not None:
                options["steps"] = main.encoder.config["steps"]
            train(settled["data"] if data is None else data, out=place, evaluate=False, quiet=True, **options)
    found = read_json(place / HEAD / JUDGED)
    shutil.rmtree(place)
    return found


def _probed(asked: _Asked, main: "Run", arm: _Arm) -> Any:
    """What a linear probe of the encoder as it was is worth."""
    from nearfar.api import build, settle
    from nearfar.api.baselines import untrained
    from nearfar.api.heads import hold_back
    from nearfar.api.judging import judges_of, parts_of, split_off
    from nearfar.api.options import from_file
    from nearfar.api.prepare import assemble
    from nearfar.downstream import registry
    from nearfar.methods import registry as methods
    from nearfar.modalities import registry as modalities
    from nearfar.modalities.opening import splits, suited
    from nearfar.training.run_folder import CONFIG

    config = assemble(from_file(main.path / CONFIG))
    config = replace(config, data=replace(config.data, labels=arm.labels.name, label_draw=arm.draw))
    modality, method = modalities.load(config.data.modality), methods.load(config.model.method)
    seed = config.machine.seed
    train, test = parts_of(config.data.data, splits(modality, config.data.data))
    source, taken_out = split_off(modality, build.source(config, modality, train), test, seed)
    source = suited(source, main.encoder.config, least=2)
    columns = config.data.named_columns
    judges = judges_of(main.encoder, source, test, taken_out, seed=seed, cache=config.data.cache, **columns)
    known = settle.labels_of(source, method.required(config.method_options), judges.held_out)
    labels, held_back = hold_back(config, [method], source, known)
    judging = judges.source(source)
    assert labels is not None
    assert judging is not None
    start = untrained(main.encoder, source, main.path)
    found = registry.load(asked.task).probe(start, source, labels, held_back, judging, seed=seed)
    assert found is not None
    return found.to_json()


def _evaluation(asked: _Asked, main: "Run", rows: "list[Row]", notes: list[str]) -> "Evaluation":
    """The rows with all that tells how they were made."""
    from nearfar.evaluation.joint import correlations_of
    from nearfar.evaluation.result import Evaluation

    config = main.encoder.config
    systems = list(dict.fromkeys(row.system for row in rows))
    steps = config["steps"]
    protocol = (
        f"{steps} steps of each training. Few labels: mean of {asked.draws} draws, the same for every system, 95 % "
        "interval over draws and test samples; all labels: one training, by bootstrap over test samples. Probabilities "
        "are calibrated by labels that were held back; the calibration error is that of the test samples."
    )
    found = Evaluation(protocol, systems, rows, notes=notes, steps=steps, epochs=config["epochs"])
    found.meanings = dict(_MEANINGS)
    found.seed = int(config.get("seed", 0))
    found.correlations = {name: correlations_of(own) for name in systems[:-1] if (own := found.judged(name))}
    return found


@cache
def _weights_of(run: str) -> str | None:
    """The weights that the name of a published encoder alone stands for, such as those of a folder."""
    from nearfar.modalities import registry

    found = registry.published(run)
    assert found is not None
    return registry.load(str(found.config["modality"])).weights_of(registry.parted(run)[0])


def _views_of(run: str) -> dict[str, Any]:
    """How a run has made its views, but for what is to be gentler."""
    from nearfar.api.options import from_file
    from nearfar.modalities import registry
    from nearfar.options import declared
    from nearfar.training.run_folder import CONFIG

    if not (Path(run) / CONFIG).is_file():
        return {}
    settled = from_file(Path(run) / CONFIG)
    modality = registry.load(str(settled["modality"]))
    return {n: settled[n] for n in declared(modality.Options) if n in settled and n not in modality.gentle}


def _part(main: "Run") -> str:
    """The training part of the data of a run."""
    from nearfar.api.judging import parts_of
    from nearfar.api.options import from_file
    from nearfar.modalities import registry
    from nearfar.modalities.opening import splits
    from nearfar.training.run_folder import CONFIG

    data = str(from_file(main.path / CONFIG)["data"])
    return parts_of(data, splits(registry.load(main.encoder.config["modality"]), data))[0]


def _read(folder: Path) -> _Asked:
    from nearfar.files import read_json

    try:
        return _Asked(**read_json(folder / ASKED))
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
