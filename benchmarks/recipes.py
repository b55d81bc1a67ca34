"""What single operations of the views are worth: the same run with and without them, at equal steps, over seeds.

    python benchmarks/recipes.py data/cifarval --name cifarval
    python benchmarks/recipes.py data/cifarval --name cifarval --steps 400 --seeds 5 -- --encoder resnet18 --width 16

DATA has parts `train` and `test`; options after `--` go to every run, the rest is automatic. `hue in HSV` shifts the
hue as torchvision does, by the same shares of a turn as our rotation in YIQ shifts those views, to a hundredth. Writes
benchmarks/results/recipes-<name>.json after each run, and goes on from what is there. Accuracies are in percent, with
all labels: kNN (k = 20) and linear. Each recipe is compared with the default seed by seed: the mean of the
differences, with its 95 % interval (t over seeds).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import facts, runs_so_far, split, write
from methods import ROWS, accuracies, interval
from torch import Tensor
from torchvision.transforms.v2.functional import adjust_hue

from nearfar.modalities.image.options import ImageOptions
from nearfar.modalities.image.views import ViewMaker
from nearfar.modalities.image.views.drawing import draw

HSV = "hue in HSV"
RECIPES = {
    "default": "",
    HSV: "--hue 0",
    "no hue": "--hue 0",
    "masks on half of the views": "--mask 0.5",
}


def in_hsv() -> None:
    """Let this process's view makers shift the hue of finished views by torchvision."""
    made = ViewMaker.__call__
    most = ImageOptions(views_strength=0.5).largest("hue")

    def call(self: ViewMaker, pixels: Tensor, aspect: Tensor, draws: Any, view: int, small: bool) -> Tensor:
        views = made(self, pixels, aspect, draws, view, small)
        drawn = draw(self.options, aspect, draws, seed=self.seed, view=view, size=self.size, small=small)
        shifts = torch.where(drawn.colours[:, 0] < (self.options.jitter or 0), (2 * drawn.colours[:, 4] - 1) * most, 0)
        mean, std = self.mean[:, None, None], self.std[:, None, None]
        shifts = (100 * shifts).round()
        for shift in set(shifts.tolist()) - {0.0}:
            some = shifts == shift
            views[some] = (adjust_hue((views[some] * std + mean).clamp(0, 1), shift / 100) - mean) / std
        return views

    ViewMaker.__call__ = call  # type: ignore[method-assign]


def one(data: Path, recipe: str, steps: int, seed: int, more: list[str], folder: Path) -> dict[str, Any]:
    """Train with one recipe and seed, in a process of its own; what its evaluation says."""
    run = folder / f"{list(RECIPES).index(recipe)}-{seed}"
    command = [sys.executable, __file__, "--run", recipe, str(data), "--steps", str(steps), "--seed", str(seed)]
    command += ["--out", str(run), "--knn-every", "0", "--quiet", *RECIPES[recipe].split(), *more]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    return {"recipe": recipe, "seed": seed, "accuracy": accuracies(evaluation, list(evaluation["systems"])[-1])}


def table(runs: list[dict[str, Any]]) -> str:
    """Accuracies of each recipe, and how far it is from the default, as a table in Markdown."""
    lines = [f"| recipe | {' | '.join(ROWS)} | {' | '.join(f'{name}, to the default' for name in ROWS)} |"]
    lines.append("|" + "---|" * (1 + 2 * len(ROWS)))
    base = {run["seed"]: run["accuracy"] for run in runs if run["recipe"] == "default"}
    for recipe in RECIPES:
        own = {run["seed"]: run["accuracy"] for run in runs if run["recipe"] == recipe and run["seed"] in base}
        if own:
            cells = [f"{np.mean([found[name] for found in own.values()]):.1f}" for name in ROWS]
            apart = [[found[name] - base[seed][name] for seed, found in own.items()] for name in ROWS]
            cells += ["" if recipe == "default" else interval(values) for values in apart]
            lines.append(f"| {recipe} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        from nearfar.cli import main

        if sys.argv[2] == HSV:
            in_hsv()
        sys.exit(main(["train", *sys.argv[3:]]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--name", required=True, help="of the result")
    ours, more = split(sys.argv[1:])
    given = parser.parse_args(ours)
    settings = {"data": given.data.name, "steps": given.steps, "options": more, "recipes": RECIPES}
    runs = runs_so_far(f"recipes-{given.name}", settings)
    with tempfile.TemporaryDirectory() as place:
        for seed in range(given.seeds):
            for recipe in given.recipes:
                if any((run["recipe"], run["seed"]) == (recipe, seed) for run in runs):
                    continue
                runs.append(one(given.data, recipe, given.steps, seed, more, Path(place)))
                print(seed, recipe, runs[-1]["accuracy"], flush=True)
                write(f"recipes-{given.name}", {"settings": settings, "runs": runs, **facts()})
    print(table(runs))
