"""Accuracy after a fixed time: `nearfar train` on one folder, judged on another, over seeds.

    python benchmarks/quality.py data/train5k data/test2k --budget 5m --seeds 3 --name cifar5k
    python benchmarks/quality.py data/train5k data/test2k --name cifar5k-resnet18 -- --encoder resnet18 --width 16

Everything is automatic but for the options after `--`. Each seed is a command of its own, so that its start counts in
the budget. Writes benchmarks/results/quality-<name>.json: kNN (k = 20) and linear accuracy with all labels, mean and
95 % interval over seeds (one seed: bootstrap over test images), beside the raw input, with the settings in force.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from machine import facts, split, write

import nearfar as nf


def one(train: Path, test: Path, budget: str, seed: int, more: list[str], folder: Path) -> dict[str, object]:
    """Train with one seed and judge; accuracies in percent."""
    run = folder / f"seed-{seed}"
    command = [sys.executable, "-m", "nearfar", "train", str(train), "--budget", budget]
    command += ["--seed", str(seed), "--out", str(run), *more]
    subprocess.run(command, check=True)
    found = nf.evaluate(str(run), str(train), str(test)).to_json()
    rows = {}
    for row in found["rows"]:
        setting = row["setting"]
        if row["metric"] == "accuracy" and setting["labels per class"] == "all" and setting.get("k") in (20, None):
            value = [round(100 * row["value"][part], 2) for part in ("mean", "low", "high")]
            rows[f"{row['system']}, {setting['probe']}"] = value
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    config = tomllib.loads((run / "config.toml").read_text())
    config["data"].pop("data")
    return {
        "seed": seed,
        "accuracy": rows,
        "steps": records[-1]["step"],
        "seconds": records[-1]["seconds"],
        "samples_per_second": round(sum(r["samples_per_second"] for r in records) / len(records)),
        "data_wait": round(sum(r["data_wait"] for r in records) / len(records), 3),
        "config": config,
    }


def over_seeds(runs: list[dict[str, object]]) -> dict[str, str]:
    """Mean and 95 % interval over seeds of each accuracy."""
    import torch

    from nearfar.evaluation import over_seeds as interval

    text = {}
    for name in runs[0]["accuracy"]:
        values = [run["accuracy"][name][0] for run in runs]
        if len(values) == 1:
            low, high = runs[0]["accuracy"][name][1:]
            text[name] = f"{values[0]:.1f} [{low:.1f}, {high:.1f}] over test images"
        else:
            found = interval(torch.tensor(values, dtype=torch.float64))
            text[name] = f"{found.mean:.1f} [{found.low:.1f}, {found.high:.1f}] over {len(values)} seeds"
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--name", required=True)
    own, more = split(sys.argv[1:])
    given = parser.parse_args(own)
    with tempfile.TemporaryDirectory() as folder:
        runs = [one(given.train, given.test, given.budget, seed, more, Path(folder)) for seed in range(given.seeds)]
    summary = over_seeds(runs)
    for name, value in summary.items():
        print(f"{name:28} {value}")
    print(write(f"quality-{given.name}", {"budget": given.budget, "summary": summary, "runs": runs, **facts()}))
