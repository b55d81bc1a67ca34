"""Spoken digits of a speaker who was never heard: leave one speaker out, linear probe, over seeds.

    python benchmarks/audio.py data/fsdd --seeds 3

`data/fsdd` holds `{train,test}/<digit>/<digit>_<speaker>_<index>.wav` (the Free Spoken Digit Dataset). For each speaker
an encoder is trained on all sounds of the others, without labels (simclr) and with them (supcon), and a linear probe on
its vectors, fitted to the same sounds, is judged on all sounds of the speaker left out; its L2 strength is chosen on
speakers kept back from the others. Beside it stand log-mel statistics, segment MFCC and the untrained encoder under the
same probe, and all of it on the data's own split, where every speaker is in both parts. `--inner` compares what was
chosen (how clips are normalised; epochs and pitch of supcon) within each half of the speakers: train on two, judge the
third. Both halves chose the pitch of 0.25 and 60 epochs of two speakers; 40 of five are more steps than these.

Each run is written to benchmarks/results/audio.json as it ends, and is not made again.
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import facts, runs_so_far, write

import nearfar as nf
from nearfar.api.baselines import untrained
from nearfar.contract import Source
from nearfar.evaluation.embedding import embed_source
from nearfar.evaluation.linear import fit_linear
from nearfar.modalities.audio import MODALITY
from nearfar.modalities.audio.baselines import SegmentCepstra
from nearfar.modalities.opening import open_source

METHODS: dict[str, dict[str, Any]] = {"simclr": {"epochs": 30}, "supcon": {"epochs": 40, "pitch": 0.25}}
"""Methods, and what of the settings is each one's own."""
CHOICES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("simclr", {"normalise": "data"}),
    ("simclr", {"normalise": "clip"}),
    *(("supcon", {"epochs": epochs, "pitch": pitch}) for epochs, pitch in ((30, 0.15), (30, 0.25), (60, 0.25))),
)
"""What `--inner` compares."""
OFFICIAL = "official split"


def settings_of(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "width": given.width,
        "normalise": given.normalise,
        "batch_size": 128,
        "lr": 2e-3,
        "weight_decay": 1e-4,
        "warmup": 0.1,
        "temperature": 0.1,
        "whiten": False,
        "positives": "views",
        "knn_every": 0,
        "precision": "fp32",
        "mix": 0.1,
        "noise": 0.1,
        "mask_time": 0.1,
        "mask_bands": 0.1,
        "equalise": 5.0,
    }


def manifest(path: Path, rows: list[tuple[str, str, str, str]]) -> str:
    """Rows (path, label, group, split) as a file."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group", "split"), *rows])
    return str(path)


def sounds_of(data: Path) -> list[tuple[str, str, str, str]]:
    """(path, digit, speaker, official split) of each file."""
    files = sorted(data.glob("*/*/*.wav"))
    return [(str(f.resolve()), *f.stem.split("_")[:2], f.parts[-3]) for f in files]


def accuracy(train: torch.Tensor, test: torch.Tensor, sources: tuple[Source, Source]) -> float:
    """Percent of the test sounds that the probe names rightly."""
    learnt, judged = sources
    labels, groups = torch.from_numpy(learnt.labels), torch.from_numpy(learnt.groups)
    apart = groups if len(torch.unique(groups)) > 1 else None
    probe = fit_linear(train, labels, classes=len(learnt.label_names), groups=apart)
    return round(100 * float((probe.predict(test) == torch.from_numpy(judged.labels)).float().mean()), 2)


def run(data: str, method: str, seed: int, settings: dict[str, Any], folder: Path, baselines: bool) -> dict[str, Any]:
    """Train, embed and probe; accuracies in percent."""
    began = time.perf_counter()
    trained = nf.train(data, method=method, seed=seed, out=folder, evaluate=False, quiet=True, cache="off", **settings)
    seconds = time.perf_counter() - began
    encoder = trained.encoder
    sources = tuple(open_source(MODALITY, f"{data}:{part}", config=encoder.config) for part in ("train", "test"))
    systems = {method: [embed_source(encoder, one, show=False)[0] for one in sources]}
    if baselines:
        before = untrained(encoder, sources[0], folder)
        systems["untrained encoder"] = [embed_source(before, one, show=False)[0] for one in sources]
        systems["log-mel statistics"] = [one.vectors() for one in sources]
        systems["segment MFCC"] = [SegmentCepstra().vectors(one) for one in sources]
    found = {name: accuracy(*vectors, sources) for name, vectors in systems.items()}
    return {"accuracy": found, "seconds": round(seconds), "probe_seconds": round(time.perf_counter() - began - seconds)}


def left_out(rows: list[tuple[str, str, str, str]], speaker: str) -> list[tuple[str, str, str, str]]:
    """The sounds of a speaker as the test part, those of all others as the training part."""
    return [(path, digit, who, "test" if who == speaker else "train") for path, digit, who, _ in rows]


def plan(rows: list[tuple[str, str, str, str]], seeds: int) -> Iterator[tuple[str, str, int, list[Any]]]:
    """(who is left out, method, seed, manifest): all of one seed before the next."""
    speakers = sorted({who for _, _, who, _ in rows})
    for seed in range(seeds):
        for who in speakers:
            for method in METHODS:
                yield who, method, seed, left_out(rows, who)
        for method in METHODS:
            yield OFFICIAL, method, seed, rows


def summary(runs: list[dict[str, Any]]) -> dict[str, str]:
    """Mean over speakers of each system, with the spread over seeds where there are several whole ones."""
    found = {}
    speakers = {one["left_out"] for one in runs} - {OFFICIAL}
    for where in ("leave one speaker out", OFFICIAL):
        some = [one for one in runs if (one["left_out"] == OFFICIAL) == (where == OFFICIAL)]
        for name in dict.fromkeys(name for one in some for name in one["accuracy"]):
            by_seed: dict[int, list[float]] = {}
            for one in some:
                if name in one["accuracy"]:
                    by_seed.setdefault(one["seed"], []).append(one["accuracy"][name])
            whole = [np.mean(v) for v in by_seed.values() if len(v) == (1 if where == OFFICIAL else len(speakers))]
            if whole:
                spread = f" +- {np.std(whole, ddof=1):.1f} over {len(whole)} seeds" if len(whole) > 1 else ""
                found[f"{where}: {name}"] = f"{np.mean(whole):.1f}{spread}"
    return found


def table(runs: list[dict[str, Any]]) -> str:
    """By system and speaker the mean over seeds, in Markdown; and the mean over speakers with its range over seeds."""
    speakers = sorted({one["left_out"] for one in runs} - {OFFICIAL})
    lines = [
        f"| percent right | {' | '.join(speakers)} | mean, over seeds | own split |",
        "|---" * (len(speakers) + 3) + "|",
    ]
    names = ("log-mel statistics", "segment MFCC", "untrained encoder", *METHODS)
    for name in names:
        of = {
            who: {
                one["seed"]: one["accuracy"][name] for one in runs if one["left_out"] == who and name in one["accuracy"]
            }
            for who in (*speakers, OFFICIAL)
        }
        seeds = set.intersection(*(set(found) for found in of.values()))
        each = [float(np.mean([of[who][seed] for who in speakers])) for seed in sorted(seeds)]
        spread = f" [{min(each):.1f}, {max(each):.1f}]" if len(each) > 1 else ""
        cells = [f"{np.mean([of[who][seed] for seed in seeds]):.1f}" for who in (*speakers, OFFICIAL)]
        lines.append(f"| {name} | {' | '.join(cells[:-1])} | {np.mean(each):.1f}{spread} | {cells[-1]} |")
    return "\n".join(lines)


def inner(rows: list[tuple[str, str, str, str]], settings: dict[str, Any], folder: Path) -> None:
    """What was chosen, within each half of the speakers: what one half says is for reporting the other."""
    speakers = sorted({who for _, _, who, _ in rows})
    for half in (speakers[:3], speakers[3:]):
        own = [row for row in rows if row[2] in half]
        for number, (method, choice) in enumerate(CHOICES):
            scores = []
            for who in half:
                data = manifest(folder / "inner.csv", left_out(own, who))
                place = folder / f"{who}-{number}"
                chosen = {**settings, **METHODS[method], **choice}
                scores.append(run(data, method, 0, chosen, place, False)["accuracy"][method])
            print(half, method, choice, scores, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--normalise", default="clip")
    parser.add_argument("--inner", action="store_true")
    given = parser.parse_args()
    settings, rows = settings_of(given), sounds_of(given.data)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if given.inner:
            inner(rows, settings, place)
            raise SystemExit
        stored = {**settings, "methods": METHODS}
        runs = runs_so_far("audio", stored)
        done = {(one["left_out"], one["method"], one["seed"]) for one in runs}
        for who, method, seed, listed in plan(rows, given.seeds):
            if (who, method, seed) in done:
                continue
            data = manifest(place / "sounds.csv", listed)
            first = method == next(iter(METHODS)) and seed == 0
            found = run(data, method, seed, {**settings, **METHODS[method]}, place / f"{who}-{method}-{seed}", first)
            runs.append({"left_out": who, "method": method, "seed": seed, **found})
            print(runs[-1], flush=True)
            write("audio", {"settings": stored, "summary": summary(runs), "runs": runs, **facts()})
    for what, value in summary(runs).items():
        print(f"{what:45} {value}")
