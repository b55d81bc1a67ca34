"""Runs that are killed (SIGKILL) at random moments and go on, against one that never was: are the weights the same?

    python benchmarks/kills.py                       # 20 kills in one run on the built-in digits
    python benchmarks/kills.py --kills 50 --seed 3 -- --method moco --micro-batch 48

Each kill comes up to `--within` seconds after the run has written a checkpoint that it had not when it was started, so
that a moment while one is written is as likely as any. Between two kills a checkpoint is written after every step. The
last start goes on to the end. Compares weights, optimiser, metrics and verdict; writes benchmarks/results/kills.json.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import facts, split, write

from nearfar.training import checkpoint
from nearfar.training.run_folder import RunFolder

OPTIONS = "--encoder small_cnn --width 8 --batch-size 64 --precision fp32 --threads 1 --knn-every 0.2"
UNLIKE = ("seconds", "samples_per_second", "data_wait", "processor_wait")
"""Of the metrics, those that tell time."""


def command(out: Path, steps: int, more: list[str]) -> list[str]:
    """The run's own command line."""
    words = [sys.executable, "-m", "nearfar", "train", "digits", "--out", str(out), "--steps", str(steps), "--quiet"]
    return [*words, *OPTIONS.split(), "--checkpoint-every", "0.001", *more]


def newest(out: Path) -> int:
    """The step of the newest checkpoint, -1 where there is none."""
    return max((int(path.name[5:]) for path in (out / "checkpoint").glob("step-*")), default=-1)


def killed(out: Path, words: list[str], within: float, moments: random.Random) -> dict[str, Any]:
    """Start or go on, and kill; says at which step, and what lay there half written."""
    before = newest(out)
    again = ["--resume"] if (out / "config.toml").is_file() else []
    with subprocess.Popen([*words, *again], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and newest(out) <= before:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, within))
        ended = process.poll() is not None
        process.send_signal(signal.SIGKILL)
    return {"step": newest(out), "ended": ended, "drafts": len(list(out.rglob(".*.draft")))}


def same(one: Path, other: Path) -> dict[str, bool]:
    """What is equal to the bit between two runs."""
    mine, theirs = (checkpoint.latest(run / "checkpoint") for run in (one, other))
    assert mine is not None
    assert theirs is not None
    records = [
        [{key: value for key, value in record.items() if key not in UNLIKE} for record in RunFolder(run).metrics()]
        for run in (one, other)
    ]
    verdicts = [json.loads((run / "evaluation.json").read_text(encoding="utf-8")) for run in (one, other)]
    return {
        "weights": _equal(mine.weights, theirs.weights),
        "optimizer": _equal(mine.optimizer, theirs.optimizer),
        "metrics": records[0] == records[1],
        "evaluation": verdicts[0]["rows"] == verdicts[1]["rows"],
    }


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--within", type=float, default=0.5, help="seconds after a new checkpoint")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    own, more = split(sys.argv[1:])
    given = parser.parse_args(own)
    moments = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as place:
        whole, out = Path(place) / "whole", Path(place) / "killed"
        subprocess.run(command(whole, given.steps, more), check=True, stdout=subprocess.DEVNULL)
        kills = []
        for number in range(given.kills):
            kills.append(killed(out, command(out, given.steps, more), given.within, moments))
            print(number + 1, kills[-1], flush=True)
        subprocess.run([*command(out, given.steps, more), "--resume"], check=True, stdout=subprocess.DEVNULL)
        found = same(whole, out)
    print(found)
    print(write("kills", {"same": found, "kills": kills, "steps": given.steps, "options": more, **facts()}))
    raise SystemExit(0 if all(found.values()) else 1)
