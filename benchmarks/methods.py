"""All methods side by side: the same encoder, the same minutes, the same data, over seeds.

    python benchmarks/methods.py data/cifar5k --budget 1m --seeds 3 --name cifar5k
    python benchmarks/methods.py data/cifar5k --name cifar5k --methods byol dino        # these only
    python benchmarks/methods.py data/cifar5k --name cifar5k-resnet18 -- --encoder resnet18 --width 16
    python benchmarks/methods.py --table cifar5k                      # the table, as docs/methods.md has it

DATA has parts `train` and `test` (`cifar_subset.py` writes them); each run is the command `nearfar train` with
everything automatic but for the options after `--`, and is judged by its own evaluation on the test part. Writes
benchmarks/results/methods-<name>.json after each run: what is there already is kept and not run again, so that a
long table can be made in pieces. Accuracies are in percent, with all labels: kNN (k = 20) and linear; intervals are
95 %, over seeds (t). Memory is the largest that the command held, with python and torch in it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from machine import facts, read, runs_so_far, split, write

from nearfar.methods.registry import METHODS, known

ROWS: dict[str, dict[str, Any]] = {"kNN": {"probe": "kNN", "k": 20}, "linear": {"probe": "linear"}}


def one(data: Path, method: str, budget: str, seed: int, more: list[str], folder: Path) -> dict[str, Any]:
    """Train with one method and seed; what its own evaluation says, and what it took."""
    run = folder / f"{method}-{seed}"
    command = [sys.executable, "-m", "nearfar", "train", str(data), "--method", method, "--budget", budget]
    command += ["--seed", str(seed), "--out", str(run), "--quiet", *more]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{method} with seed {seed} failed.")
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    config = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
    config["data"].pop("data")
    return {
        "method": method,
        "seed": seed,
        "accuracy": {system: accuracies(evaluation, system) for system in evaluation["systems"]},
        "steps": records[-1]["step"],
        "seconds": records[-1]["seconds"],
        "samples_per_second": round(sum(r["samples_per_second"] for r in records) / len(records)),
        "data_wait": round(sum(r["data_wait"] for r in records) / len(records), 3),
        "effective_rank": round(records[-1]["effective_rank"], 1),
        "alarms": sorted({r["name"] for r in alarms(run)}),
        "megabytes": round(usage.ru_maxrss / 1024),
        "config": config,
    }


def alarms(run: Path) -> list[dict[str, Any]]:
    """What the newest checkpoint knows of alarms."""
    states = sorted((run / "checkpoint").glob("step-*/state.json"))
    return json.loads(states[-1].read_text(encoding="utf-8"))["alarms"]


def accuracies(evaluation: dict[str, Any], system: str) -> dict[str, float]:
    """kNN and linear with all labels of one system, in percent."""
    from nearfar.evaluation import Evaluation

    found = Evaluation.from_json(evaluation)
    rows = {name: found.find("accuracy", system, labels_per_class="all", **setting) for name, setting in ROWS.items()}
    return {name: round(100 * row.value.mean, 2) for name, row in rows.items() if row is not None}


def interval(values: list[float]) -> str:
    """Mean and 95 % interval over seeds."""
    import torch

    from nearfar.evaluation import over_seeds

    if len(values) < 2:
        return f"{values[0]:.1f}"
    found = over_seeds(torch.tensor(values, dtype=torch.float64))
    return f"{found.mean:.1f} [{found.low:.1f}, {found.high:.1f}]"


def table(runs: list[dict[str, Any]]) -> str:
    """The runs as a table in Markdown, the best linear accuracy first."""
    systems = list(runs[0]["accuracy"])
    rows = []
    for method in METHODS:
        own = [run for run in runs if run["method"] == method]
        if not own:
            rows.append((-1.0, f"| {method} | not measured | | | | |"))
            continue
        of = {name: [run["accuracy"][systems[-1]][name] for run in own] for name in ROWS}
        speed = round(sum(run["samples_per_second"] for run in own) / len(own))
        steps = round(sum(run["steps"] for run in own) / len(own))
        memory = max(run["megabytes"] for run in own)
        figures = " | ".join(interval(of[name]) for name in ROWS)
        mean = sum(of["linear"]) / len(own)
        rows.append((mean, f"| {method} | {figures} | {speed:,} | {steps:,} | {memory:,} |"))
    lines = [f"| method | {' | '.join(ROWS)} | samples/s | steps | MB |", "|---|---|---|---|---|---|"]
    lines += [line for _, line in sorted(rows, key=lambda row: -row[0])]
    for system in systems[:-1]:
        of = {name: [run["accuracy"][system][name] for run in runs] for name in ROWS}
        seeds = {run["seed"]: run["accuracy"][system] for run in runs}
        figures = " | ".join(interval([seed[name] for seed in seeds.values()]) for name in of)
        lines.append(f"| *{system}* | {figures} | | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--budget", default="1m")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", type=known, default=list(METHODS))
    parser.add_argument("--name", help="of the result")
    parser.add_argument("--table", help="print the table of this result")
    own, more = split(sys.argv[1:])
    given = parser.parse_args(own)
    if given.table:
        print(table(read(f"methods-{given.table}")["runs"]))
        raise SystemExit
    if given.data is None or given.name is None:
        parser.error("DATA and --name are needed")
    settings = {"data": given.data.name, "budget": given.budget, "options": more}
    runs = runs_so_far(f"methods-{given.name}", settings)
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(given.seeds):
            for method in given.methods:
                if any((run["method"], run["seed"]) == (method, seed) for run in runs):
                    continue
                runs.append(one(given.data, method, given.budget, seed, more, Path(folder)))
                print(method, seed, runs[-1]["accuracy"], runs[-1]["alarms"], flush=True)
                write(f"methods-{given.name}", {"settings": settings, "runs": runs, **facts()})
    print(table(runs))
