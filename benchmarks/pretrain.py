"""Images a second of a whole run, against the encoder's own rate on tensors that are already there.

    python benchmarks/pretrain.py data/train5k --steps 200
    python benchmarks/pretrain.py data/train5k --steps 100 --name resnet18w16 -- --encoder resnet18 --width 16

Two rates of one command: `loop`, samples over the seconds of the training steps (data, views, health and checkpoints
in it), and `overall`, samples over the seconds from the command's start to its last step (imports, scan and decoding
in it too). `encoder` is forward, loss, backward and optimiser step of the same method on one resident batch of views.
Writes benchmarks/results/pretrain-<name>.json.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from machine import facts, split, write

from nearfar.contract import Batch
from nearfar.face.options import from_file
from nearfar.face.prepare import assemble, prepare
from nearfar.training import cut


def whole(data: Path, steps: int, more: list[str], folder: Path) -> dict[str, float]:
    """The rates of a run as a command of its own."""
    command = [sys.executable, "-m", "nearfar", "train", str(data), "--steps", str(steps), "--out", str(folder), *more]
    subprocess.run([*command, "--knn-every", "0"], check=True)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    batch = from_file(folder / "config.toml")["batch_size"]
    state = json.loads(sorted((folder / "checkpoint").glob("*/state.json"))[-1].read_text())
    first, last = records[0], records[-1]
    return {
        "loop": (last["step"] - first["step"]) * batch / (last["seconds"] - first["seconds"]),
        "overall": steps * batch / state["elapsed"],
        "data_wait": float(np.mean([record["data_wait"] for record in records[1:]])),
        "start_seconds": first["seconds"],
    }


def encoder_alone(folder: Path, seconds: float = 20.0) -> float:
    """Samples a second of the run's own method on one resident batch."""
    ready = prepare(assemble(from_file(folder / "config.toml")), fresh=False)
    plan = ready.plan
    rows = plan.order.rows(0)
    raw, kept = plan.source.fetch(rows)
    views = plan.views(raw, kept)
    for view in views:
        del view
    batch = Batch(ids=torch.from_numpy(kept), labels=torch.full((len(kept),), -1))
    plan.method.train()
    done, start = -3, time.perf_counter()
    while done < 3 or time.perf_counter() - start < seconds:
        if done == 0:
            start = time.perf_counter()
        plan.optimizer.zero_grad(set_to_none=True)
        cut.step(plan.method, views, batch, autocast=plan.autocast)
        plan.optimizer.step()
        done += 1
    return done * len(kept) / (time.perf_counter() - start)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--name", default="automatic")
    own, more = split(sys.argv[1:])
    given = parser.parse_args(own)
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        rates = whole(given.data, given.steps, more, folder)
        rates["encoder"] = encoder_alone(folder)
        config = from_file(folder / "config.toml")
    rates["loop_of_encoder"] = rates["loop"] / rates["encoder"]
    rounded = {name: round(value, 3 if value < 10 else 1) for name, value in rates.items()}
    for name, value in rounded.items():
        print(f"{name:18} {value}")
    config.pop("data")
    print(write(f"pretrain-{given.name}", {"rates": rounded, "steps": given.steps, "config": config, **facts()}))
