"""What tells without labels which of two short trainings is the better one: each figure beside the accuracy of kNN.

    python benchmarks/basket_sets.py ARCHIVES data/basket
    python benchmarks/judge.py data/basket [data/banking77/train.csv] -- --threads 1 --precision fp32
    python benchmarks/judge.py --fit                                   # the table, and the weights of the combination

On the train part of each set, SETTINGS settings are drawn at random from what `nearfar tune` tries; the first are the
defaults. Each is trained on SAMPLES samples at 32 px, and its figures are those of `evaluation.unlabelled`. What they
are to predict is the share of training samples whose class is told by their 20 nearest others, each left out once: no
test part is read. A run that is done is written to benchmarks/results/judge.json at once.

`--fit` prints, for each set, Spearman's correlation of each figure with the accuracy over the settings, with a 95 %
interval (bootstrap over settings), and that of the combination whose weights are fitted on all other sets: ridge
regression of the log odds of the accuracy on the figures, both as differences from the set's means. Weights are at
least 0, as every figure is made to rise with how good an encoder is.
"""

import argparse
import math
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import RESULTS, facts, options, read, split, write
from scipy.optimize import nnls

from nearfar.api import judge
from nearfar.api.prepare import assemble as settings_of
from nearfar.api.tuning import trial
from nearfar.api.tuning.space import Dimension, Space, space_of
from nearfar.evaluation import unlabelled
from nearfar.evaluation.correlation import judged
from nearfar.progress import hushed

SETS = ("signs", "flowers", "photo", "cifar", "adult", "sketch")
SETTINGS = 12
LEAST = 7
"""Runs of a set without which it says nothing."""
SAMPLES = 4_000
RIDGES = (10.0, 100.0, 1000.0)
PICTURES = {"image_size": 32, "encoder": "resnet8", "width": 16}


def pick(numbers: random.Random, one: Dimension) -> Any:
    """A value at random."""
    if one.span is None:
        return numbers.choice(one.choices)
    low, high = one.span.low, one.span.high
    if one.span.log:
        return math.exp(numbers.uniform(math.log(low), math.log(high)))
    return numbers.uniform(low, high)


def options_of(data: Path, more: list[str]) -> dict[str, Any]:
    """The options of all trainings on a set."""
    given = options(more)
    if data.is_dir() and data.name != "adult":
        given |= PICTURES
    place = data / "train" if data.is_dir() and data.name != "adult" else data
    place = data / "train.csv" if data.name == "adult" else place
    return {**given, "data": str(place)}


def measured(data: Path, more: list[str], runs: list[dict[str, Any]], keep: Any) -> None:
    """Make the runs on a set that are not there yet."""
    given, numbers = options_of(data, more), random.Random(0)
    name = data.parent.name if data.suffix else data.name
    with tempfile.TemporaryDirectory() as place, hushed():
        folder = Path(place) / "run"
        size = len(trial.start(trial.Settings(settings_of(given)), 1, 1, folder).source)
        usual = trial.start(trial.Settings(settings_of(given)), SAMPLES, size, folder)
        space: Space = space_of(usual, given)
        asked = judge.by_labels(usual.source, None)
        views = judge.without_labels(usual.source, usual.config)
        for number in range(SETTINGS):
            values = space.usual if number == 0 else space.drawn(lambda one: pick(numbers, one))
            if any(run["set"] == name and run["number"] == number for run in runs):
                continue
            began = time.monotonic()
            ready = trial.start(space.settings(values), SAMPLES, size, folder)
            found = trial.train(ready, asked, folder)
            with torch.no_grad():
                whiten = bool(ready.config.model.whiten) and ready.encoder.whitens
                figures = judge.figures_of(views, ready.encoder, ready.modality, ready.plan, whiten=whiten)
            runs.append({
                "set": name,
                "number": number,
                "values": {key: round(one, 4) if isinstance(one, float) else one for key, one in values.items()},
                "accuracy": round(100 * found.score.value, 2),
                "figures": {key: round(one, 5) for key, one in (figures or {}).items()},
                "seconds": round(time.monotonic() - began, 1),
            })  # fmt: skip
            keep()
            print(name, number, runs[-1]["accuracy"], runs[-1]["seconds"], values, flush=True)


def tensors(runs: list[dict[str, Any]], name: str, used: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Figures `[R, F]` and log odds of the accuracy `[R]` on a set, as differences from their means."""
    own = [run for run in runs if run["set"] == name]
    x = torch.tensor([[run["figures"][one] for one in used] for run in own], dtype=torch.float64)
    share = torch.tensor([run["accuracy"] / 100 for run in own], dtype=torch.float64).clamp(0.005, 0.995)
    y = torch.log(share / (1 - share))
    return x - x.mean(0), y - y.mean()


def fitted(parts: list[tuple[torch.Tensor, torch.Tensor]], ridge: float) -> torch.Tensor:
    """Weights `[F]` of the figures, at least 0: ridge regression on figures in units of their spread, sets alike."""
    x = torch.cat([one / len(one) ** 0.5 for one, _ in parts])
    y = torch.cat([one / len(one) ** 0.5 for _, one in parts])
    scale = x.square().mean(0).sqrt().clamp_min(1e-9)
    pull = (ridge / 100 * len(parts)) ** 0.5 * torch.eye(x.shape[1], dtype=x.dtype)
    weights, _ = nnls(torch.cat([x / scale, pull]).numpy(), torch.cat([y, torch.zeros(len(pull))]).numpy())
    return torch.from_numpy(weights) / scale


def spearman(one: torch.Tensor, truth: torch.Tensor) -> Any:
    """Spearman's correlation with its interval."""
    return judged([one], truth, ranked=True)[0][0]


def left_out(runs: list[dict[str, Any]], sets: list[str], used: list[str], ridge: float) -> dict[str, torch.Tensor]:
    """What the combination says of each set, its weights fitted on all others."""
    parts = {name: tensors(runs, name, used) for name in sets}
    return {name: parts[name][0] @ fitted([parts[other] for other in sets if other != name], ridge) for name in sets}


def fit() -> None:
    """Print the table, and the weights; writes both beside the runs."""
    found = read("judge")
    runs = found["runs"]
    sets = [name for name in dict.fromkeys(run["set"] for run in runs)]
    sets = [name for name in sets if sum(run["set"] == name for run in runs) >= LEAST]
    used = list(unlabelled.FIGURES)
    truth = {name: tensors(runs, name, used)[1] for name in sets}

    def mean(ridge: float) -> float:
        said = left_out(runs, sets, used, ridge)
        return sum(spearman(said[name], truth[name]).mean for name in sets) / len(sets)

    rows: dict[str, dict[str, Any]] = {
        figure: {name: spearman(tensors(runs, name, used)[0][:, i], truth[name]) for name in sets}
        for i, figure in enumerate(used)
    }
    # The strength is chosen among the other sets, too: each set left out meets weights that know nothing of it.
    combined = {}
    for name in sets:
        others = [other for other in sets if other != name]
        within = {
            ridge: sum(spearman(one, truth[other]).mean for other, one in left_out(runs, others, used, ridge).items())
            for ridge in RIDGES
        }
        best = max(within, key=lambda ridge: within[ridge])
        weights = fitted([tensors(runs, other, used) for other in others], best)
        combined[name] = tensors(runs, name, used)[0] @ weights
    rows["combination"] = {name: spearman(combined[name], truth[name]) for name in sets}
    print("| figure |", " | ".join(sets), "| mean |")
    print("|---" * (len(sets) + 2) + "|")
    table = {}
    for figure, by_set in rows.items():
        cells = [f"{one.mean:.2f} [{one.low:.2f}, {one.high:.2f}]" for one in by_set.values()]
        average = sum(one.mean for one in by_set.values()) / len(sets)
        print(f"| {figure} |", " | ".join(cells), f"| {average:.2f} |")
        table[figure] = {
            name: {"spearman": round(one.mean, 3), "low": round(one.low, 3), "high": round(one.high, 3)}
            for name, one in by_set.items()
        } | {"mean": round(average, 3)}
    ridge = max(RIDGES, key=mean)
    weights = fitted([tensors(runs, name, used) for name in sets], ridge)
    best = {name: round(float(one), 4) for name, one in zip(used, weights, strict=True)}
    # Of the best by each judge, how much of what could be gained on the defaults is gained.
    gains = {}
    for name in sets:
        own = [run for run in runs if run["set"] == name]
        taken = own[int(combined[name].argmax())]["accuracy"]
        gains[name] = {
            "defaults": own[0]["accuracy"],
            "picked": taken,
            "best": max(run["accuracy"] for run in own),
            "mean": round(sum(run["accuracy"] for run in own) / len(own), 2),
        }
    errors = torch.cat([(combined[name] - combined[name][0]) - (truth[name] - truth[name][0]) for name in sets])
    error = float(errors.abs().quantile(0.95))
    print(gains, "\nridge", ridge, "weights", best, "error", round(error, 3))
    fitting = {"ridge": ridge, "weights": best, "error": round(error, 3), "picks": gains, "correlations": table}
    write("judge", {**found, "fitted": fitting})


def main() -> None:
    """Make the runs that are not there yet, or fit."""
    own, more = split(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="*", help="the basket, and further files or folders")
    parser.add_argument("--fit", action="store_true")
    given = parser.parse_args(own)
    if given.fit:
        fit()
        return
    runs: list[dict[str, Any]] = read("judge")["runs"] if (RESULTS / "judge.json").is_file() else []
    settings = {"samples": SAMPLES, "settings": SETTINGS, "pictures": PICTURES, "options": more}

    def keep() -> None:
        write("judge", {"settings": settings, "runs": runs, **facts()})

    basket, *others = given.data
    for data in [*(basket / name for name in SETS), *others]:
        measured(data, more, runs, keep)


if __name__ == "__main__":
    main()
