"""Automatic settings on a basket of sets, beside the untrained encoder, fixed settings and a grid of colours x batch.

    python benchmarks/basket_sets.py ARCHIVES data/basket
    python benchmarks/basket.py data/basket --samples 30000 --seeds 1 --image-size 32 --name basket-30k
    python benchmarks/basket.py data/basket --name basket-30k --report          # what has been measured so far

Every recipe is a set of options of `nearfar train`, and sees the same number of `samples`: what a time budget holds on
the machine that it stands for, so that the figures do not depend on what else this one does. Each run that is done is
written to benchmarks/results/NAME.json at once, and an interrupted benchmark goes on from there: more seeds, sets and
recipes may be asked for later. Accuracies are in percent, kNN (k = 20) and linear, with all labels: `train` by
cross-validation on the train part, which rules are set by; `test` on the test part, which the report alone reads.

The report has, for every set, each recipe's figures on the test part, and the means over the sets; `left out` is the
recipe of the grid that was best on the train parts of all other sets, in turn.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from basket_sets import SETS
from machine import facts, read, runs_so_far, split, write
from methods import ROWS, accuracies, interval
from torch import Tensor

from nearfar.data.embeddings import Embeddings
from nearfar.evaluation import fit_linear, nearest
from nearfar.evaluation.knn import vote

COLOURS = ("colours-change", "colours-both", "colours-stay")
BATCHES = (256, 64, 32)
BEFORE = {"views": COLOURS[0], "keep-start": None}
"""What all runs did before anything was chosen by the budget or the data; the batch is `largest_batch`."""
RECIPES: dict[str, dict[str, Any]] = {"automatic": {}, "before": BEFORE}
RECIPES |= {f"{name}, {size}": {**BEFORE, "views": name, "batch-size": size} for name in COLOURS for size in BATCHES}
GRID = tuple(name for name in RECIPES if "," in name)
TABLES = ("adult",)
BEST = "best of the grid, each set"
FOLDS = 5


def samples_of(data: Path) -> int:
    """The size of the train part."""
    if data.name in TABLES:
        return len((data / "train.csv").read_text(encoding="utf-8").splitlines()) - 1
    return sum(1 for path in (data / "train").rglob("*") if path.is_file())


def largest_batch(samples: int) -> int:
    """The batch that was taken whatever the budget: 256, and at most a quarter of the data."""
    return min(256, max(32, 1 << (samples // 4).bit_length() - 1))


def options(recipe: str, data: Path, samples: int, image_size: int) -> list[str]:
    """The words of a recipe, with as many steps as see `samples` samples."""
    given, count = dict(RECIPES[recipe]), samples_of(data)
    if recipe == "before":
        given["batch-size"] = largest_batch(count)
    if data.name in TABLES:
        given.pop("views", None)
    else:
        given["image-size"] = image_size
    if "batch-size" in given:
        given["steps"] = samples // given["batch-size"]
    else:
        given["epochs"] = max(1, round(samples / count))
    words = []
    for name, value in given.items():
        words += [f"--no-{name}"] if value is None else [f"--{name}", str(value)]
    return words


def cross_validated(vectors: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracies in percent on the train part: of each sample's nearest others, and of probes on four fifths of it."""
    classes = int(labels.max()) + 1
    similarities, at = nearest(vectors, vectors, 20, exclude_self=True)
    near = vote(similarities, labels[at], classes=classes) == labels
    fold = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)) % FOLDS
    right = torch.zeros(len(labels), dtype=torch.bool)
    for one in range(FOLDS):
        probe = fit_linear(vectors[fold != one], labels[fold != one], classes=classes)
        right[fold == one] = probe.predict(vectors[fold == one]) == labels[fold == one]
    return {"kNN": round(100 * float(near.float().mean()), 2), "linear": round(100 * float(right.float().mean()), 2)}


def one(
    data: Path, recipe: str, seed: int, more: list[str], folder: Path, *, samples: int, image_size: int, test: bool
) -> dict[str, Any]:
    """Train with one recipe and seed in a process of its own; how good its encoder is, by the `test` part too."""
    run = folder / f"{data.name}-{list(RECIPES).index(recipe)}-{seed}"
    words = [*options(recipe, data, samples, image_size), "--seed", str(seed), "--out", str(run), *more]
    began = time.monotonic()
    command = [sys.executable, "-m", "nearfar", "train", str(data), "--knn-every", "0", "--quiet", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    found = Embeddings.load(run / "embeddings.parquet")
    names = sorted({str(label) for label in found.labels or ()})
    labels = torch.tensor([names.index(str(label)) for label in found.labels or ()])
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "set": data.name,
        "recipe": recipe,
        "seed": seed,
        "train": cross_validated(torch.from_numpy(found.vectors), labels),
        "test": {name: accuracies(evaluation, name) for name in evaluation["systems"]} if test else None,
        "chosen": chosen(run),
        "steps": records[-1]["step"],
        "effective_rank": round(records[-1]["effective_rank"], 1),
        "seconds": round(time.monotonic() - began),
    }


def chosen(run: Path) -> dict[str, Any]:
    """What the run has settled of its batch and views."""
    config = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
    reasons = config.pop("chosen")
    flat = {name: value for section in config.values() if isinstance(section, dict) for name, value in section.items()}
    found = {name: flat[name] for name in ("batch_size", "views") if name in flat}
    return found | ({"why": reasons["views"]} if "views" in reasons else {})


def report(runs: list[dict[str, Any]], part: str = "test", kind: Iterable[str] = SETS) -> str:
    """A table in Markdown: a line for each recipe, kNN / linear on each set of a kind, and the mean where it has all.

    The last line has the best of the grid for each set by itself, by the mean of both figures.
    """
    runs = [run for run in runs if run[part] is not None]  # of some, only the train part was looked at
    sets = [name for name in kind if any(run["set"] == name for run in runs)]
    runs = [run for run in runs if run["set"] in sets]
    recipes = [name for name in RECIPES if any(run["recipe"] == name for run in runs)]
    figures: dict[tuple[str, str], list[dict[str, float]]] = {}
    for run in runs:
        own = run["train"] if part == "train" else list(run["test"].values())[-1]
        figures.setdefault((run["recipe"], run["set"]), []).append(own)
        if part == "test":
            theirs = next(value for system, value in run["test"].items() if "untrained" in system)
            figures.setdefault(("untrained", run["set"]), []).append(theirs)
    lines = [f"| {part} | {' | '.join(sets)} | mean |", "|---" * (len(sets) + 2) + "|"]
    of = {key: [sum(one[row] for one in found) / len(found) for row in ROWS] for key, found in figures.items()}
    grid = [recipe for recipe in recipes if recipe in GRID]
    for name in sets:
        tried = [of[recipe, name] for recipe in grid if (recipe, name) in of]
        if len(tried) > 1:
            of[BEST, name] = max(tried, key=sum)
    for recipe in [*(["untrained"] if part == "test" else []), *recipes, *([BEST] if len(grid) > 1 else [])]:
        own = [of.get((recipe, name), []) for name in sets]
        mean = [sum(column) / len(column) for column in zip(*own, strict=True)] if all(own) else []
        cells = [" / ".join(f"{value:.1f}" for value in one) for one in [*own, mean]]
        lines.append(f"| {recipe} | {' | '.join(cells)} |")
    return "\n".join(lines)


def leads(runs: list[dict[str, Any]]) -> str:
    """How far `automatic` leads the untrained encoder and `before` on test parts: means, with intervals over seeds."""
    lines = ["| set | seeds | over untrained, kNN | linear | over before, kNN | linear |", "|---" * 6 + "|"]
    every: dict[int, list[list[float]]] = {}
    names = [name for name in [*SETS, *TABLES] if any(run["set"] == name for run in runs)]
    for name in names:
        found: list[list[float]] = []
        for run in runs:
            if (run["set"], run["recipe"]) != (name, "automatic") or run["test"] is None:
                continue
            other = next((o for o in runs if (o["set"], o["recipe"], o["seed"]) == (name, "before", run["seed"])), None)
            if other is None:
                continue
            own, start = list(run["test"].values())[-1], run["test"]["untrained encoder"]
            before = list(other["test"].values())[-1]
            found.append([own[row] - against[row] for against in (start, before) for row in ROWS])
            if name in SETS:
                every.setdefault(run["seed"], []).append(found[-1])
        if found:
            columns = [interval(list(column)) for column in zip(*found, strict=True)]
            lines.append(f"| {name} | {len(found)} | {' | '.join(columns)} |")
    whole = [
        [sum(column) / len(column) for column in zip(*of, strict=True)]
        for of in every.values()
        if len(of) == len([name for name in names if name in SETS])
    ]
    if whole:
        columns = [interval(list(column)) for column in zip(*whole, strict=True)]
        lines.append(f"| mean of the pictures | {len(whole)} | {' | '.join(columns)} |")
    return "\n".join(lines)


def left_out(runs: list[dict[str, Any]]) -> str:
    """For each set the recipe of the grid that is best on the train parts of all others, and what it gives there."""
    score: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        score.setdefault((run["recipe"], run["set"]), []).append(sum(run["train"].values()) / len(run["train"]))
    sets = sorted({run["set"] for run in runs if run["recipe"] in GRID})
    lines = []
    for name in sets:
        others = [other for other in sets if other != name]
        whole = [recipe for recipe in GRID if all((recipe, other) in score for other in [*others, name])]
        if not others or not whole or not any(run["set"] == name and run["test"] for run in runs):
            continue
        best = max(whole, key=lambda recipe: sum(sum(score[recipe, o]) / len(score[recipe, o]) for o in others))
        own = [run["test"] for run in runs if (run["set"], run["recipe"]) == (name, best) and run["test"]]
        own = [list(of.values())[-1] for of in own]
        lines.append(f"| {name} | {best} | {' | '.join(interval([one[row] for one in own]) for row in ROWS)} |")
    return "\n".join(["| set | best on the others | kNN | linear |", "|---|---|---|---|", *lines])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--samples", type=int, default=30_000)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sets", nargs="+", choices=[*SETS, *TABLES], default=list(SETS))
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--name", required=True, help="of the result")
    parser.add_argument("--report", action="store_true", help="run nothing, show what is there")
    ours, more = split(sys.argv[1:])
    parser.add_argument("--train-only", action="store_true", help="leave the test part alone, to set a rule by")
    given = parser.parse_args(ours)
    if given.report:
        runs = read(given.name)["runs"]
        print(
            "\n\n".join([report(runs, "train"), report(runs), report(runs, kind=TABLES), leads(runs), left_out(runs)])
        )
        raise SystemExit
    settings = {"samples": given.samples, "image_size": given.image_size, "options": more}
    runs = runs_so_far(given.name, settings)
    with tempfile.TemporaryDirectory() as place:
        for seed in range(given.seeds):
            for name in given.sets:
                for recipe in given.recipes:
                    if any((run["set"], run["recipe"], run["seed"]) == (name, recipe, seed) for run in runs):
                        continue
                    if RECIPES[recipe].get("batch-size", 0) > samples_of(given.data / name):
                        continue
                    sizes = {"samples": given.samples, "image_size": given.image_size}
                    found = one(given.data / name, recipe, seed, more, Path(place), test=not given.train_only, **sizes)
                    runs = [*runs_so_far(given.name, settings), found]  # others may have added theirs
                    print(name, recipe, seed, found["train"], found["seconds"], flush=True)
                    write(given.name, {"settings": settings, "runs": runs, **facts()})
    print(report(runs, "train"))
