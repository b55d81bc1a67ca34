"""Images a second of one command on one process and on several of the same machine, by torchrun.

    python benchmarks/ranks.py data/train5k
    python benchmarks/ranks.py data/train5k --processes 1 2 --steps 60 -- --encoder resnet18 --width 16

The batch is the same in all, and the cores are shared out among the processes. `images_per_second` are those of the
steps from the second record on. Writes benchmarks/results/ranks.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import facts, split, write


def run(data: Path, processes: int, steps: int, more: list[str]) -> dict[str, Any]:
    """One run on so many processes."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        words = ["-m", "nearfar", "train", str(data), "--out", str(out), "--steps", str(steps), "--knn-every", "0"]
        words += ["--threads", str(threads), "--quiet", *more]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run(
            [sys.executable, *(launcher if processes > 1 else []), *words], env=environment, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        batch = next(
            int(line.split("=")[1]) for line in (out / "config.toml").read_text().splitlines()
            if line.startswith("batch_size =")
        )  # fmt: skip
    first, last = records[1], records[-1]
    rate = (last["step"] - first["step"]) * batch / (last["seconds"] - first["seconds"])
    return {"processes": processes, "threads": threads, "images_per_second": round(rate, 1), "loss": last["loss"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=60)
    own, more = split(sys.argv[1:])
    given = parser.parse_args(own)
    more = more or ["--encoder", "resnet18", "--width", "16", "--image-size", "32", "--precision", "bf16"]
    rows = []
    for processes in given.processes:
        rows.append(run(given.data, processes, given.steps, more))
        print(rows[-1], flush=True)
    print(write("ranks", {"rows": rows, "steps": given.steps, "options": more, **facts()}))
