"""Recommendation on MovieLens latest-small: full ranking beside popularity, item-kNN and EASE, by time and at random.

    python benchmarks/recommend.py movielens_small/                    # three seeds of each split, minutes on two cores
    python benchmarks/recommend.py movielens_small/ --inner            # judged by a fifth of the training part
    python benchmarks/recommend.py movielens_small/ -- --dimensions 128

Each finished run is written at once: the same command goes on where it was stopped. `--inner` is what settings are to
be chosen by: it never sees the test part. Writes benchmarks/results/<name>.json.
"""

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import facts, options, runs_so_far, split, write

import nearfar as nf
from nearfar.modalities import registry
from nearfar.modalities.opening import open_source

METRICS = ("recall@20", "NDCG@20", "coverage@20", "popularity@20")


def training_part(data: Path, how: str, seed: int, folder: Path) -> Path:
    """The part of the interactions that a run of this seed trains on, as a file of its own."""
    modality = registry.load("interactions")
    source = open_source(modality, str(data), options=modality.Options(split_by=how))
    rows = {int(source.keys[row].rpartition("#")[2]) for row in source.split(seed)[0].tolist()}
    with data.open(newline="", encoding="utf-8") as file:
        head, *lines = csv.reader(file)
    kept = folder / f"{how}-{seed}" / data.name
    kept.parent.mkdir()
    with kept.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *(line for row, line in enumerate(lines) if row in rows)])
    return kept


def measured(data: Path, how: str, seed: int, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """The figures of one run: of all systems, [mean, low, high], and the lead of the trained encoder over each."""
    began = time.monotonic()
    run = nf.train(data, out=folder / "run", seed=seed, split_by=how, quiet=True, **options)
    found: dict[str, Any] = {"split": how, "seed": seed, "seconds": round(time.monotonic() - began, 1)}
    found["training_seconds"] = round(run.seconds, 1)
    assert run.evaluation is not None
    for metric in METRICS:
        rows = [row for row in run.evaluation.rows if row.metric == metric]
        found[metric] = {
            row.system: [round(x, 4) for x in (row.value.mean, row.value.low, row.value.high)] for row in rows
        }
        found[f"{metric} lead"] = {
            row.system: [round(x, 4) for x in (row.lead.mean, row.lead.low, row.lead.high)] for row in rows if row.lead
        }
    return found


if __name__ == "__main__":
    own, others = split(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--splits", nargs="*", default=["time", "random"])
    parser.add_argument("--inner", action="store_true")
    parser.add_argument("--name")
    given = parser.parse_args(own)
    chosen = {"epochs": given.epochs, "temperature": 0.15, "precision": "fp32", "threads": 1, **options(others)}
    name = given.name or ("recommend-inner" if given.inner else "recommend")
    settings = {"data": "MovieLens latest-small", "inner": given.inner, **chosen}
    runs = runs_so_far(name, settings)
    done = {(run["split"], run["seed"]) for run in runs}
    for seed in range(given.seeds):
        for how in given.splits:
            if (how, seed) in done:
                continue
            with tempfile.TemporaryDirectory() as folder:
                data = given.folder / "ratings.csv"
                if given.inner:
                    data = training_part(data, how, seed, Path(folder))
                runs.append(measured(data, how, seed, Path(folder), chosen))
            figures = {system: runs[-1]["recall@20"][system][0] for system in runs[-1]["recall@20"]}
            print(how, seed, figures, {s: v[0] for s, v in runs[-1]["NDCG@20"].items()}, flush=True)
            path = write(name, {**facts(), "settings": settings, "runs": runs})
            print(path, flush=True)
