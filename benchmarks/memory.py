"""Memory and time against the size of the batch, with gradient caching and without.

    python benchmarks/memory.py data/train20k
    python benchmarks/memory.py data/train20k --batch-sizes 256 16384 --micro-batch 256 --steps 3
    python benchmarks/memory.py data/train20k --name mine -- --encoder small_cnn --method vicreg

Each batch size is trained in a process of its own: as one graph (`plain`), as long as that stays below `--most` GB by
what smaller batches took, and in micro-batches (`cached`). `megabytes` is the largest memory of the process, with
python, torch and the data in it; `base` that of a process which has done all but the first step. `milliseconds` are of
training, for each image of the batch: the median step, the first left out.

Writes benchmarks/results/memory-<name>.json.
"""

import argparse
import json
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from machine import facts, split, write

DEFAULT = "--encoder resnet18 --width 16 --image-size 32 --precision bf16"
SIZES = (256, 1024, 4096, 16384)


def train(data: Path, batch_size: int, micro_batch: int, steps: int, more: list[str]) -> dict[str, Any]:
    """The steps of a run and nothing after them, in this process."""
    from nearfar.api.prepare import assemble, prepare
    from nearfar.cli.parsing import parse
    from nearfar.training import loop
    from nearfar.training.clock import Clock
    from nearfar.training.display import Display
    from nearfar.training.run_folder import RunFolder
    from nearfar.training.state import State

    words = ["train", str(data), "--batch-size", str(batch_size), "--micro-batch", str(micro_batch), *more]
    command = parse([*words, "--steps", str(max(1, steps)), "--knn-every", "0", "--health-every", "1"])
    assert command is not None
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "run")
        ready = prepare(assemble(command.given | {"data": str(data)}), run=folder.path)
        if not steps:
            return {"megabytes": _megabytes()}
        folder.claim()
        loop.fit(ready.plan, Clock(steps=steps), folder, State(), Display(quiet=True))
        ends = [record["seconds"] for record in folder.metrics()]
    seconds = statistics.median(b - a for a, b in pairwise(ends))
    return {"megabytes": _megabytes(), "milliseconds": round(1000 * seconds / batch_size, 4), "steps": steps}


def apart(data: Path, batch_size: int, micro_batch: int, steps: int, more: list[str]) -> dict[str, Any]:
    """The same in a process of its own."""
    own = ["--child", str(batch_size), str(micro_batch), str(steps), "--", *more]
    done = subprocess.run([sys.executable, __file__, str(data), *own], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(rows: list[dict[str, Any]], base: int) -> str:
    """The rows in Markdown; the ratio is to the plain form of the smallest batch."""
    one = rows[0]["milliseconds"]
    lines = ["| batch | graphs of | MB | of these, training | ms an image | ratio |", "|---" * 6 + "|"]
    for row in rows:
        ratio = row["milliseconds"] / one
        lines.append(
            f"| {row['batch_size']:,} | {row['micro_batch']:,} | {row['megabytes']:,} | {row['megabytes'] - base:,} "
            f"| {row['milliseconds']:.2f} | {ratio:.2f} |"
        )
    return "\n".join(lines)


def _megabytes() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--micro-batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4, help="of the largest batch; smaller ones take more")
    parser.add_argument("--most", type=float, default=12.0, help="GB that the plain form may take")
    parser.add_argument("--name", default="resnet18w16", help="of the result")
    parser.add_argument("--child", type=int, nargs=3, help=argparse.SUPPRESS)
    own, more = split(sys.argv[1:])
    given = parser.parse_args(own)
    more = more or DEFAULT.split()
    logging.basicConfig(level=logging.WARNING)
    if given.child:
        print(json.dumps(train(given.data, *given.child, more)))
        raise SystemExit
    base = apart(given.data, min(given.batch_sizes), min(given.batch_sizes), 0, more)["megabytes"]
    rows: list[dict[str, Any]] = []
    for size in sorted(given.batch_sizes):
        steps = max(given.steps, min(40, 10_240 // size))
        expected = [(row["megabytes"] - base) * size / row["batch_size"] for row in rows if row["form"] == "plain"]
        if max(expected, default=0) < 1024 * given.most:
            rows.append(
                {"form": "plain", "batch_size": size, "micro_batch": size} | apart(given.data, size, size, steps, more)
            )
            print(rows[-1], flush=True)
        if size > given.micro_batch:
            micro = given.micro_batch
            rows.append(
                {"form": "cached", "batch_size": size, "micro_batch": micro}
                | apart(given.data, size, micro, steps, more)
            )
            print(rows[-1], flush=True)
    print(table(rows, base))
    print(write(f"memory-{given.name}", {"base": base, "rows": rows, "options": more, **facts()}))
