"""Images a second of a whole run, against the encoder's own rate, and against lightly and lightly-train.

    python benchmarks/pretrain.py data/train5k --steps 200
    python benchmarks/pretrain.py data/train5k --steps 100 --names small_cnn resnet18w16 resnet18
    python benchmarks/pretrain.py flowers30 --steps 40 --names resnet18-224
    python benchmarks/pretrain.py data/train5k --names mine -- --encoder resnet34 --batch-size 128
    python benchmarks/pretrain.py flowers30 --names resnet18-224 --run RUN --encoder-seconds 0   # figures of that run

Two rates of one command: `loop`, samples over the seconds of the training steps (data, views, health and checkpoints
in it), and `overall`, samples over the seconds from the command's start to its last step (imports, scan and decoding
in it too: the cache is empty at first). `encoder` is forward, loss, backward and optimiser step of the same method on
one resident batch of views. `data_wait` is the share of the steps' time in which the encoder waited for views, in
percent: in the first epoch and in those after it. `fetch` is how many decoded pictures a second come from the cache or
from memory, and `fetch_of_step` their share of a step's time in percent (it goes on beside the step).

Where lightly and lightly-train can be imported they train the same network on the same data with as many steps of the
same size (see `peers.py`); `lightly` and `lightly_train` are their overall rates, decoding included.
Writes benchmarks/results/pretrain-<name>.json.
"""

import argparse
import json
import logging
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import facts, split, write

from nearfar.api.options import from_file
from nearfar.api.prepare import assemble, prepare
from nearfar.contract import Batch
from nearfar.training.plan import Plan
from nearfar.training.step import training_step

NAMED = {
    "automatic": "",
    "small_cnn": "--encoder small_cnn --image-size 32",
    "resnet18w16": "--encoder resnet18 --width 16 --image-size 32",
    "resnet18": "--encoder resnet18 --image-size 32",
    "resnet18-224": "--encoder resnet18 --image-size 224 --batch-size 64",
}
"""Settings by name; options after `--` come behind them."""

Rates = dict[str, float | None]


def whole(data: Path, steps: int, more: Sequence[str], folder: Path) -> Rates:
    """The rates of a run as a command of its own."""
    command = [sys.executable, "-m", "nearfar", "train", str(data), "--steps", str(steps), "--out", str(folder), *more]
    command += ["--knn-every", "0", "--cache", str(folder.with_name("cache"))]
    subprocess.run(command, check=True)
    return read(folder)


def read(folder: Path) -> Rates:
    """The rates of a run, from what it noted."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    batch = from_file(folder / "config.toml")["batch_size"]
    state = json.loads(sorted((folder / "checkpoint").glob("*/state.json"))[-1].read_text())
    first, last = records[0], records[-1]
    return {
        "loop": (last["step"] - first["step"]) * batch / (last["seconds"] - first["seconds"]),
        "overall": state["step"] * batch / state["elapsed"],
        "data_wait_first_epoch": _percent([r["data_wait"] for r in records[1:] if r["epoch"] == 0]),
        "data_wait": _percent([r["data_wait"] for r in records if r["epoch"] > 0]),
        "start_seconds": first["seconds"],
    }


def encoder_alone(plan: Plan, seconds: float) -> float:
    """Samples a second of the run's own method on one resident batch."""
    raw, kept = plan.source.fetch(plan.order.rows(0))
    views = plan.make_views(raw, kept, requires=plan.method.requires)
    for view in views:
        del view
    batch = Batch(ids=torch.from_numpy(kept), labels=torch.full((len(kept),), -1))
    plan.method.train()
    done, start = -3, time.perf_counter()
    while done < 3 or time.perf_counter() - start < seconds:
        if done == 0:
            start = time.perf_counter()
        plan.optimizer.zero_grad(set_to_none=True)
        training_step(plan.method, views, batch, autocast=plan.autocast)
        plan.optimizer.step()
        done += 1
    return done * len(kept) / (time.perf_counter() - start)


def fetched(plan: Plan, epochs: int = 3) -> float:
    """Decoded pictures a second, from the second epoch on, by one thread as in training."""
    torch.set_num_threads(1)
    steps = range(plan.order.steps_per_epoch)
    best = math.inf
    for epoch in range(1 + epochs):
        start = time.perf_counter()
        for step in steps:
            plan.source.fetch(plan.order.rows(step))
        if epoch:
            best = min(best, time.perf_counter() - start)
    return len(steps) * plan.order.batch_size / best


def peer(name: str, data: Path, steps: int, folder: Path) -> float | None:
    """The overall rate of another library, from its command's start on; None where it is not installed."""
    if find_spec(name) is None:
        return None
    script = Path(__file__).with_name("peers.py")
    began = time.time()
    command = [sys.executable, str(script), name, str(data), str(steps), str(folder)]
    ended = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    return steps * ended["batch_size"] / (ended["last_step"] - began)


def measure(
    data: Path, steps: int, more: Sequence[str], seconds: float, *, peers: bool, run: Path | None = None
) -> dict[str, Any]:
    """All rates of one setting, and the settings in force; of `run` where there is one, else of a new run."""
    with tempfile.TemporaryDirectory() as place:
        folder = run or Path(place) / "run"
        rates = read(folder) if run else whole(data, steps, more, folder)
        for name in ("lightly", "lightly_train"):
            rates[name] = peer(name, data, steps, folder) if peers and not run else None
        config = from_file(folder / "config.toml")
        loop = rates["loop"]
        assert loop is not None
        rates |= dict.fromkeys(("encoder", "loop_of_encoder", "fetch", "fetch_of_step"))
        if seconds:
            plan = prepare(assemble(config), run=folder, fresh=False).plan
            encoder = encoder_alone(plan, seconds)
            rates |= {"encoder": encoder, "loop_of_encoder": loop / encoder, "fetch": (fetch := fetched(plan))}
            rates["fetch_of_step"] = 100 * loop / fetch
    for name in ("data", "cache"):
        config.pop(name)
    shown = {name: None if rate is None else round(rate, 3 if rate < 10 else 1) for name, rate in rates.items()}
    return {"rates": shown, "steps": config["steps"], "config": config}


def _percent(shares: Sequence[float]) -> float | None:
    return 100 * float(np.mean(shares)) if shares else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=200, help="more than an epoch, to see the wait after it")
    parser.add_argument("--names", nargs="+", default=["automatic"], help=f"of these: {', '.join(NAMED)}; or your own")
    parser.add_argument("--alone", action="store_true", help="without lightly and lightly-train")
    parser.add_argument(
        "--encoder-seconds", type=float, default=20, help="how long the encoder alone is measured; or 0"
    )
    parser.add_argument("--run", type=Path, help="take the figures of this run, trained with such settings")
    own, more = split(sys.argv[1:])
    given = parser.parse_args(own)
    logging.basicConfig(level=logging.WARNING)
    threads = torch.get_num_threads()
    for name in given.names:
        torch.set_num_threads(threads)
        found = measure(
            given.data,
            given.steps,
            [*NAMED.get(name, "").split(), *more],
            given.encoder_seconds,
            peers=not given.alone,
            run=given.run,
        )
        for rate, value in found["rates"].items():
            print(f"{name:14} {rate:22} {'not measured' if value is None else value}")
        torch.set_num_threads(threads)
        print(write(f"pretrain-{name}", {**found, **facts()}))
