"""How often is noise called good, and how often is a real gain found?

    python benchmarks/verdicts.py            # 200 runs without a gain, 20 with one; minutes on one core

Tiny encoders on scikit-learn's digits, as they are (the raw input is hard to beat) or anywhere in pictures twice as
large (easy to beat):

    other seed      an untrained encoder in place of the trained one, from another seed
    rate 1e-9       a run of `nearfar train` whose learning rate is so low that nothing is learnt
    noise           vectors of noise in place of all three systems'
    random labels   the encoders of real runs, judged by labels that were drawn
    trained         real runs

The systems, tasks and tests are those of every run. Half of the runs judge by all test samples, half by a third of
them. Writes benchmarks/results/verdicts.json.
"""

import argparse
import copy
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import facts, write
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor

import nearfar as nf
from nearfar.api.baselines import untrained
from nearfar.api.load import load_on
from nearfar.api.sources import open_for
from nearfar.contract import Encoder
from nearfar.evaluation import TaskData, Vectors, Verdict, judge_systems
from nearfar.evaluation.embedding import embed_source, whiten
from nearfar.evaluation.joint import MARGIN
from nearfar.evaluation.task import RAW, TRAINED, UNTRAINED

NULL = ("other seed", "rate 1e-9", "noise", "random labels")
LEVELS = ("good", "mixed", "unclear", "bad")
WIDTHS = (8, 16)
STEPS = {"rate 1e-9": 60, "trained": 250}
SETTINGS: dict[str, Any] = {
    "encoder": "small_cnn",
    "image_size": 16,
    "batch_size": 64,
    "flip": 0.0,
    "precision": "fp32",
    "threads": 1,
    "cache": "off",
    "quiet": True,
    "evaluate": False,
}


def moved(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each picture at a random place of one twice as large."""
    random = np.random.default_rng(0)
    size = pictures.shape[1]
    canvas = np.zeros((len(pictures), 2 * size, 2 * size), np.uint8)
    for picture, place, (x, y) in zip(pictures, canvas, random.integers(0, size + 1, (len(pictures), 2)), strict=True):
        place[x : x + size, y : y + size] = picture
    return canvas


def write_data(folder: Path) -> list[str]:
    """The digits as they are, and moved; a fifth of them is the test part."""
    digits = load_digits()
    pictures, order = (digits.images * 15).astype(np.uint8), np.random.default_rng(0).permutation(len(digits.images))
    train, test = order[360:], order[:360]
    paths = []
    for name, x in (("digits", pictures), ("moved", moved(pictures))):
        paths.append(str(folder / f"{name}.npz"))
        y = digits.target.astype(np.int64)
        np.savez(paths[-1], x_train=x[train], y_train=y[train], x_test=x[test], y_test=y[test])
    return paths


def trained(kind: str, data: str, seed: int, folder: Path) -> tuple[Encoder, Path | None]:
    """The encoder of a run of this kind, and the run."""
    more = {"lr": 1e-9} if kind == "rate 1e-9" else {}
    width = WIDTHS[seed // 2 % len(WIDTHS)]
    out = folder / f"{kind} {seed}"
    run = nf.train(f"{data}:train", steps=STEPS[kind], width=width, seed=seed, out=out, **SETTINGS, **more)
    return load_on(run.path, "cpu")


class Judged:
    """A data set with the vectors of encoders on it."""

    def __init__(self, data: str, encoder: Encoder) -> None:
        self.parts = [open_for(encoder, f"{data}:{part}", cache="off") for part in ("train", "test")]
        self.labels = [torch.from_numpy(part.labels) for part in self.parts if part.labels is not None]
        self.raw = [x for part in self.parts if (x := part.vectors()) is not None]

    def before(self, encoder: Encoder, run: Path | None = None) -> list[Tensor]:
        """The vectors of the encoder as it was before training; without the run, as its seed makes it."""
        fresh = untrained(encoder, self.parts[0], run)
        if encoder.config.get("whitened"):
            whiten(fresh, self.parts[0], show=False)
        return self.of(fresh)

    def of(self, encoder: Encoder) -> list[Tensor]:
        """The vectors of both parts."""
        return [embed_source(encoder, part, show=False)[0] for part in self.parts]


def verdict(systems: dict[str, list[Tensor]], labels: list[Tensor], seed: int) -> Verdict:
    """By all test samples, or by a third of them."""
    rows = torch.arange(len(labels[1]))[:: 3 if seed % 4 > 1 else 1]
    data = TaskData(labels[0], labels[1][rows], [str(c) for c in range(10)], seed=seed)
    return judge_systems({name: Vectors(x[0], x[1][rows]) for name, x in systems.items()}, data).verdict()


def systems_of(kind: str, judged: Judged, encoder: Encoder, run: Path | None, seed: int) -> dict[str, list[Tensor]]:
    """What a run of this kind compares."""
    if kind == "noise":
        random = torch.Generator().manual_seed(seed)
        return {
            name: [torch.randn(len(y), 64, generator=random) for y in judged.labels]
            for name in (RAW, UNTRAINED, TRAINED)
        }
    if kind == "other seed":
        one, other = (judged.before(with_seed(encoder, number)) for number in (seed, 10_000 + seed))
        return {RAW: judged.raw, UNTRAINED: one, TRAINED: other}
    return {RAW: judged.raw, UNTRAINED: judged.before(encoder, run), TRAINED: judged.of(encoder)}


def with_seed(encoder: Encoder, seed: int) -> Encoder:
    """The encoder, as if another seed had made it."""
    other = copy.copy(encoder)
    other.config = dict(encoder.config, seed=seed)
    return other


def labels_of(kind: str, labels: list[Tensor], seed: int) -> list[Tensor]:
    """The labels, or labels that are drawn."""
    if kind != "random labels":
        return labels
    random = torch.Generator().manual_seed(seed)
    return [y[torch.randperm(len(y), generator=random)] for y in labels]


def measure(runs: int, gains: int) -> list[dict[str, Any]]:
    """A verdict for each run."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_data(folder)
        real = [trained("trained", data[seed % 2], seed, folder) for seed in range(gains)]
        judged = [Judged(path, real[i][0]) for i, path in enumerate(data)]
        for kind in ("trained", *NULL):
            for seed in range(gains if kind == "trained" else runs):
                low = kind == "rate 1e-9"
                encoder, run = trained(kind, data[seed % 2], seed, folder) if low else real[seed % gains]
                systems = systems_of(kind, judged[seed % 2], encoder, run, seed)
                one = verdict(systems, labels_of(kind, judged[seed % 2].labels, seed), seed)
                answers = {statement.question: statement.answer for statement in one.statements}
                found.append(
                    {"kind": kind, "data": Path(data[seed % 2]).stem, "seed": seed, "level": one.level} | answers
                )
                print(kind, seed, one.level, file=sys.stderr, flush=True)
    return found


def table(runs: list[dict[str, Any]]) -> str:
    """How often each level came, and how often training was said to help, in Markdown."""
    lines = [
        f"| runs | data | number | {' | '.join(LEVELS)} | training said to help |",
        "|---" * (4 + len(LEVELS)) + "|",
    ]
    for kind in (*NULL, "trained"):
        for data in ("digits", "moved"):
            some = [run for run in runs if (run["kind"], run["data"]) == (kind, data)]
            levels = Counter(run["level"] for run in some)
            helps = sum(run.get("Does training help?") in ("yes", "mixed") for run in some)
            counts = " | ".join(str(levels[level]) for level in LEVELS)
            lines.append(f"| {kind} | {data} | {len(some)} | {counts} | {helps} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50, help="of each kind without a gain")
    parser.add_argument("--gains", type=int, default=20, help="real runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    runs = measure(given.runs, given.gains)
    null = [run for run in runs if run["kind"] != "trained"]
    good = sum(run["level"] == "good" for run in null)
    print(table(runs))
    print(f"good without a gain: {good} of {len(null)}")
    content = {"settings": {"margin": MARGIN, "steps": STEPS, "widths": WIDTHS}, "runs": runs}
    print(write("verdicts", content | {"seconds": round(time.process_time() - began)} | facts()))


if __name__ == "__main__":
    main()
