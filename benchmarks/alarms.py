"""Are settings that are broken on purpose caught in the first tenth of a run, and healthy runs left in peace?

    python benchmarks/alarms.py                        # all; an hour on two cores
    python benchmarks/alarms.py --methods byol simsiam # these
    python benchmarks/alarms.py --photos DIR           # healthy runs on pictures in DIR, beside what is there

The runs are those of `tests/methods/learning.py`, with records as often as a user has them. The thresholds of
`nearfar/training/alarms.py` were set on the seeds of group A; the table is of group B. A run counts as caught where an
alarm came, or the run stopped with a diagnosis, before a tenth of its steps; as harmed where the nearest of one
labelled sample of each class is less often right than in the healthy runs of the method, by the paired 95 % interval
over the seeds of both groups; an encoder whose weights are no longer finite is never right. Data with nothing in it
(black pictures, copies of one) is run for a tenth and with the first seed only: there is nothing to learn.

With `--records DIR` the figures of each run are kept there, and runs that are there are judged anew instead of made.
Writes benchmarks/results/alarms.json after every run, and keeps what others wrote.
"""

import argparse
import contextlib
import importlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from machine import RESULTS, facts, write
from PIL import Image

from nearfar.api.prepare import assemble, prepare
from nearfar.contract import Batch, Latents, Losses, Method, Views
from nearfar.errors import TrainingError
from nearfar.evaluation.intervals import SEEDS, Interval, paired
from nearfar.methods.batchnorm import in_groups
from nearfar.methods.registry import METHODS, known, load
from nearfar.modalities.opening import open_source
from nearfar.training import loop
from nearfar.training.alarms import Watchdog
from nearfar.training.clock import Clock
from nearfar.training.display import Display
from nearfar.training.run_folder import RunFolder
from nearfar.training.state import State

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.methods.learning import SETTINGS, STEPS, accuracy

GROUPS = {"A": (10, 0, 1, 2, 3), "B": (11, 12, 13, 14, 15)}
EARLY = 0.1
"""The share of the run in which a broken setting is to be caught."""
PHOTO_STEPS = 150
PHOTO_METHODS = ("simclr", "byol", "vicreg", "swav", "dino")

PREDICTING = ("byol", "simsiam")
SOFTMAX = tuple(name for name in METHODS if "temperature" in {field.name for field in fields(load(name).Options)})
EVERY = tuple(METHODS)
CASES = {
    "healthy": EVERY,
    "healthy, photos": PHOTO_METHODS,
    "predictor off": PREDICTING,
    "stop-gradient off": PREDICTING,
    "temperature 100": SOFTMAX,
    "learning rate x 100": EVERY,
    "black pictures": EVERY,
    "copies of one picture": EVERY,
    "near copies of one picture": EVERY,
}
"""What is done to which methods."""
_EMPTY = ("black pictures", "copies of one picture", "near copies of one picture")


@dataclass(frozen=True)
class Run:
    """A run to make: what is broken of which method, and its seed."""

    case: str
    method: str
    seed: int

    @property
    def steps(self) -> int:
        """How long it is planned."""
        return PHOTO_STEPS if self.case == "healthy, photos" else STEPS


def broken(kind: type[Method], case: str) -> type[Method]:
    """The method with a part left out, or its learning rate changed."""
    if case == "learning rate x 100":
        return type(kind.__name__, (kind,), {"rate": 100 * kind.rate})
    if case == "predictor off":
        return without_predictor(kind)
    if case == "stop-gradient off":
        return without_stop_gradient(kind)
    return kind


def without_predictor(kind: Any) -> type[Method]:
    """Views are drawn to each other's projections as they are."""

    class Broken(kind):
        def __init__(self, encoder: Any, options: Any) -> None:
            super().__init__(encoder, options)
            self.predictor = torch.nn.Identity()

    return Broken


def without_stop_gradient(kind: Any) -> type[Method]:
    """What is predicted comes from the networks that predict, and learns, too."""

    class Broken(kind):
        def embed(self, views: Views) -> Latents:
            features = in_groups(self.encoder, views)
            z = torch.stack([self.projector(view) for view in features])
            return Latents(p=torch.stack([self.predictor(view) for view in z]), z=z, features=features)

        def targets(self, views: Views) -> Latents:
            return Latents()

        def loss(self, z: Latents, batch: Batch) -> Losses:
            cosines = torch.nn.functional.cosine_similarity(z["p"], z["z"].flip(0), dim=-1)
            return Losses(4 - 4 * cosines.mean() if hasattr(self, "target_encoder") else -cosines.mean())

        def after_step(self, z: Latents, batch: Batch) -> None:
            pass

    return Broken


def empty(case: str, folder: Path, seed: int) -> str:
    """A folder of 512 pictures that show nothing, or all the same, in two classes."""
    random = np.random.default_rng(seed)
    one = random.integers(0, 256, (16, 16, 3))
    for number in range(512):
        place = folder / f"class {number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        size = 16 + number % 9  # black, of several sizes: the files differ
        pixels = np.zeros((size, size, 3)) if case == "black pictures" else one
        if case == "near copies of one picture":  # as of a camera that never moves
            pixels = np.clip(one + random.integers(-3, 4, one.shape), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")
    return str(folder)


class _FirstTenth(Clock):
    """A run that is broken off."""

    def done(self, step: int, step_seconds: float) -> bool:
        assert self.steps is not None
        return step > EARLY * self.steps


def made(run: Run, folder: Path, photos: str | None) -> dict[str, Any]:
    """Make the run; its records stay in the folder."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if run.case == "healthy, photos":
        settings = {"data": photos, "steps": PHOTO_STEPS, "threads": 1, "precision": "fp32", "knn_every": 0.0}
    else:
        data = empty(run.case, folder / "data", run.seed) if run.case in _EMPTY else "digits"
        settings = SETTINGS | {"data": data, "health_every": None}
    if run.case == "temperature 100":
        settings["temperature"] = 100.0
    module = importlib.import_module(f"nearfar.methods.{run.method}")
    with patch.object(module, "METHOD", broken(module.METHOD, run.case)):
        ready = prepare(assemble(settings | {"method": run.method, "seed": run.seed}), run=folder / "run")
    held = RunFolder(folder / "run")
    held.claim()
    clock = _FirstTenth(steps=run.steps) if run.case in _EMPTY else Clock(steps=run.steps)
    state, stopped = State(), None
    try:
        loop.fit(ready.plan, clock, held, state, Display(quiet=True))
    except TrainingError as error:
        stopped = str(error)
    if state.interrupted:
        raise KeyboardInterrupt
    found: dict[str, Any] = {"stopped": state.step if stopped else None}
    if run.case not in (*_EMPTY, "healthy, photos"):
        test = open_source(ready.modality, "digits:test", config=ready.encoder.config)
        finite = all(bool(weight.isfinite().all()) for weight in ready.encoder.parameters())
        found["accuracy"] = round(accuracy(ready.encoder.eval(), ready.source, test), 4) if finite else 0.0
    return found


def watched(run: Run, records: str | None, photos: str | None) -> dict[str, Any]:
    """The run's alarms and what came of it, from its records where they are kept."""
    with contextlib.ExitStack() as held:
        within = records or held.enter_context(tempfile.TemporaryDirectory())
        folder = Path(within) / run.case.replace(" ", "-") / run.method / str(run.seed)
        kept = folder / "found.json"
        if kept.is_file():
            found = json.loads(kept.read_text())
        else:
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was broken off
            found = made(run, folder, photos)
            kept.write_text(json.dumps(found))
        watchdog = Watchdog()
        for record in RunFolder(folder / "run").metrics():
            watchdog.look(record)
    # What other programs take of the processor says nothing of the run.
    alarms = {alarm.name: alarm.step for alarm in watchdog.raised if alarm.name != "processor shared"}
    return {"case": run.case, "method": run.method, "seed": run.seed, "alarms": alarms, **found}


def is_caught(run: dict[str, Any]) -> bool:
    """Whether an alarm came, or the run stopped with a diagnosis, early enough."""
    steps = [*run["alarms"].values(), *([run["stopped"]] if run["stopped"] else [])]
    return any(step <= EARLY * Run(run["case"], run["method"], run["seed"]).steps for step in steps)


def difference(runs: list[dict[str, Any]], case: str, method: str) -> Interval | None:
    """How far the accuracy is ahead of that of healthy runs of the same seeds; None of fewer than two seeds."""
    of = {(run["case"], run["seed"]): run.get("accuracy") for run in runs if run["method"] == method}
    pairs = [(of[case, seed], of["healthy", seed]) for name, seed in of if name == case and ("healthy", seed) in of]
    if len(pairs) < 2:
        return None
    own, others = torch.tensor(pairs, dtype=torch.float64).T
    return paired(own, others, kind=SEEDS)


def rows(runs: list[dict[str, Any]], group: str) -> Iterator[tuple[str, ...]]:
    """A line for each broken setting and method; one for all methods where there is nothing to judge by."""
    for case in CASES:
        of = [run for run in runs if run["case"] == case and run["seed"] in GROUPS[group]]
        alone = case.startswith("healthy") or case in _EMPTY
        for name in ["all"] if alone else CASES[case]:
            these = [run for run in of if name in ("all", run["method"])]
            if not these:
                continue
            names = Counter(alarm for run in these for alarm in run["alarms"])
            names.update({"stopped": sum(run["stopped"] is not None for run in these)})
            said = ", ".join(f"{what} {count}" for what, count in names.most_common() if count) or "none"
            label = f"{len({run['method'] for run in these})} methods" if alone else f"`{name}`"
            ahead = None if alone else difference(runs, case, name)
            early = sum(map(is_caught, these))
            shown = "" if ahead is None else ahead.percent()
            yield case, label, f"{early} of {len(these)}", said, shown, judged(case, early / len(these), ahead)


def judged(case: str, early: float, ahead: Interval | None) -> str:
    """What a line of the table comes to, where `early` is the share of runs that were caught."""
    if case.startswith("healthy"):
        return ""
    harmed = "" if ahead is None else ", was harmed" if ahead.outcome == "behind" else ", no harm shown"
    return ("caught" if early == 1 else "caught in part" if early else "not caught") + harmed


def table(runs: list[dict[str, Any]], group: str) -> str:
    """The table of a group of seeds."""
    head = ("setting", "method", "caught in the first tenth", "alarms of the whole run", "accuracy against healthy", "")
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows(runs, group)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="*", type=known, default=[])
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=[])
    parser.add_argument("--groups", nargs="*", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--seeds", type=int, default=5, help="how many of each group's")
    parser.add_argument("--photos", help="a folder of pictures for healthy runs")
    parser.add_argument("--records", help="a folder that keeps the figures of each run")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    path = RESULTS / "alarms.json"
    before = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []
    done = {Run(run["case"], run["method"], run["seed"]): run for run in before}
    wanted = [
        Run(case, method, GROUPS[group][number])
        for number in range(given.seeds)
        for group in given.groups
        for case in (given.cases or CASES)
        for method in CASES[case]
        if (method in given.methods or not given.methods)
        and (number == 0 or case not in (*_EMPTY, "healthy, photos"))
        and (given.photos or case != "healthy, photos")
    ]
    settings = {"settings": SETTINGS, "groups": {name: list(seeds) for name, seeds in GROUPS.items()}}
    with ProcessPoolExecutor(given.processes, multiprocessing.get_context("spawn")) as pool:
        futures = [(run, pool.submit(watched, run, given.records, given.photos)) for run in wanted]
        for run, future in futures:
            done[run] = future.result()
            print(f"{run.case:26} {run.method:9} {run.seed:3} {done[run]}", flush=True)
            write("alarms", {**settings, "runs": list(done.values()), **facts()})
    for group in given.groups:
        print(f"\nGroup {group}\n\n{table(list(done.values()), group)}")
