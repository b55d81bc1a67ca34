"""What a fine-tuning was asked for, and the trainings and probes that it is compared with: its arms."""

import os
import shutil
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.options import listed
from nearfar.progress import hushed

if TYPE_CHECKING:
    from nearfar.api.run import Run
    from nearfar.downstream.labels import Amount
    from nearfar.evaluation.result import Evaluation
    from nearfar.evaluation.task import Row

TUNED, PROBE, SCRATCH = "fine-tuned encoder", "linear probe", "training from scratch"
ARMS = "comparison"
_SETTLED = ("device", "threads", "precision")
"""What is measured once, for all trainings."""
_START = {"encoder_rate": 0.3, "layer_decay": 0.8}
"""Of an encoder that a run has trained: its first layers suit the data already."""
_MEANINGS = {
    PROBE: "A linear classifier on the vectors of the encoder as it was.",
    SCRATCH: "The same network without its weights, trained on the same labels for as many steps.",
}


@dataclass(frozen=True)
class Asked:
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
        """The options of a training, those that the user gives and its method has among them."""
        from nearfar.downstream import registry
        from nearfar.methods import registry as methods
        from nearfar.options import declared

        differing = registry.load(self.task).others.get(system, {})
        method = differing.get("method", self.task)
        own, of_task = declared(methods.options_of(method)), declared(methods.options_of(self.task))
        given = {name: value for name, value in self.options.items() if name in own or name not in of_task}
        return {**self._usual(system, labels, draw), **given, **differing}

    def _usual(self, system: str, labels: "Amount", draw: int) -> dict[str, Any]:
        """The options where the user gives none."""
        from nearfar.api.options import LENGTHS
        from nearfar.api.starting import made_by
        from nearfar.downstream import registry as registry_of_tasks
        from nearfar.modalities import registry

        found: dict[str, Any] = {"method": self.task, "labels": labels.name, "label_draw": draw, "knn_every": 0.0}
        if not any(self.options.get(name) is not None for name in LENGTHS):
            found["steps"] = registry_of_tasks.load(self.task).steps
        if self.how == "probe":
            found["frozen"] = system != SCRATCH
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
class Arm:
    """One training, or one probe: a system, with so many labels, of which draw."""

    system: str
    labels: "Amount"
    draw: int

    @property
    def name(self) -> str:
        """A name for its folder."""
        return f"{self.system} {self.labels.name} {self.draw}".replace(" ", "-").replace("%", "pc")


def arms_of(asked: Asked, main: "Run") -> list[Arm]:
    """What is trained and probed, the one in question last."""
    from nearfar.downstream import registry

    systems, task = [TUNED], registry.load(asked.task)
    if asked.compare:
        scratch = [SCRATCH] if task.scratch and asked.untrained else []
        probe = [PROBE] if task.probes and asked.how == "full" else []
        systems = [*scratch, *probe, *task.others, TUNED]
    return [
        Arm(system, amount, draw)
        for amount in asked.amounts
        for draw in range(1 if amount.all else asked.draws)
        for system in systems
    ]


def trained(asked: Asked, main: "Run", arm: Arm, data: Any) -> Any:
    """Train one arm in a folder of its own, which goes again; what its head is worth."""
    from nearfar.api.heads import JUDGED
    from nearfar.api.options import from_file
    from nearfar.api.train import train
    from nearfar.downstream.task import HEAD
    from nearfar.files import read_json
    from nearfar.training.run_folder import CONFIG, RunFolder

    place, settled = main.path / ARMS / arm.name, from_file(main.path / CONFIG)
    with hushed():
        if RunFolder(place).is_run():
            train(out=place, resume=True, evaluate=False, quiet=True)
        else:
            options = asked.settings(arm.system, arm.labels, arm.draw)
            options |= {name: settled[name] for name in _SETTLED}
            if options.pop("budget", None) is not None:
                options["steps"] = main.encoder.config["steps"]
            train(settled["data"] if data is None else data, out=place, evaluate=False, quiet=True, **options)
    found = read_json(place / HEAD / JUDGED)
    shutil.rmtree(place)
    return found


def probed(asked: Asked, main: "Run", arm: Arm) -> Any:
    """What a linear probe of the encoder as it was is worth."""
    from nearfar.api import build, domains, settle
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
    if taken_out is None:
        source, taken_out = domains.part(config, source, test, seed)
    source = suited(source, main.encoder.config, least=2)
    columns = build.reading(config)
    judges = judges_of(main.encoder, source, test, taken_out, seed=seed, cache=config.data.cache, **columns)
    judges = domains.judging(config, judges)
    known = settle.labels_of(source, method.required(config.method_options), judges.held_out)
    labels, held_back = hold_back(config, [method], source, known)
    judging = judges.source(source)
    assert labels is not None
    assert judging is not None
    start = untrained(main.encoder, source, main.path)
    found = registry.load(asked.task).probe(start, source, labels, held_back, judging, seed=seed)
    assert found is not None
    return found.to_json()


def evaluation_of(asked: Asked, main: "Run", rows: "list[Row]", notes: list[str]) -> "Evaluation":
    """The rows with all that tells how they were made."""
    from nearfar.downstream import registry
    from nearfar.evaluation.joint import correlations_of
    from nearfar.evaluation.result import Evaluation

    task = registry.load(asked.task)
    config = main.encoder.config
    systems = list(dict.fromkeys(row.system for row in rows))
    steps = config["steps"]
    protocol = (
        f"{steps} steps of each training. Few labels: mean of {asked.draws} draws, the same for every system, 95 % "
        "interval over draws and test samples; all labels: one training, by bootstrap over test samples."
    )
    protocol = f"{protocol} {task.protocol}".strip()
    found = Evaluation(protocol, systems, rows, notes=notes, steps=steps, epochs=config["epochs"])
    found.meanings = {**task.meanings, **{name: said for name, said in _MEANINGS.items() if name in systems}}
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
