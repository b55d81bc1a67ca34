"""What `nearfar tune` picks beside the defaults, on test parts and seeds that it never saw.

    python benchmarks/basket_sets.py ARCHIVES data/basket
    python benchmarks/tune.py data/basket/signs -- --threads 1 --precision fp32
    python benchmarks/tune.py data/basket/flowers --unlabelled -- --threads 1 --precision fp32
    python benchmarks/tune.py --report

`nearfar tune` tries TRIALS settings on SAMPLES samples each, on the train part, and checks the best on SEEDS fresh
seeds; with `--unlabelled` it is told of no labels. Then the best trial's settings, whether they are recommended or not,
and the defaults are trained on as many samples times LONGER, on three seeds that neither trials nor check had, and
judged on the test part: accuracy of kNN (k = 20) and of a linear probe with all labels, and the paired difference with
a 95 % interval over seeds and test samples (`evaluation.intervals.crossed`). Pictures are trained at 32 px. Each set
that is done is written to benchmarks/results/tune.json at once, and not made again.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from judge import PICTURES
from machine import RESULTS, facts, options, read, split, write

import nearfar as nf
from nearfar.api import judge
from nearfar.api.evaluate import common_classes
from nearfar.api.prepare import Ready, assemble
from nearfar.api.sources import open_for
from nearfar.api.tuning import trial
from nearfar.evaluation import fit_linear
from nearfar.evaluation.embedding import embed_source, whiten
from nearfar.evaluation.intervals import crossed
from nearfar.evaluation.knn import knn_predict
from nearfar.progress import hushed

TRIALS, SAMPLES, SEEDS, LONGER, TESTED = 10, 4_000, 3, 2, (101, 102, 103)
TABLES = (".csv",)


def right(ready: Ready, test: str) -> dict[str, torch.Tensor]:
    """Whether each test sample is told rightly `[N]`, by kNN and by a linear probe, with the finished encoder."""
    encoder, source = ready.encoder.eval(), ready.source
    if ready.config.model.whiten and encoder.whitens:
        vectors, rows = whiten(encoder, source, show=False)
    else:
        vectors, rows = embed_source(encoder, source, show=False)
    judged = open_for(encoder, test, cache="off")
    asked, there = embed_source(encoder, judged, show=False)
    names, truth = common_classes(source, judged)
    labels, classes = torch.from_numpy(source.labels[rows]), len(names)
    wanted = torch.tensor(truth)[torch.from_numpy(there)]
    guesses = {
        "kNN": knn_predict(vectors, labels, asked, classes=classes),
        "linear": fit_linear(vectors, labels, classes=classes).predict(asked),
    }
    return {name: (guess == wanted).double() for name, guess in guesses.items()}


def one(data: Path, unlabelled: bool, more: list[str], place: Path) -> dict[str, Any]:
    """Tune on a set, and judge what comes of it on the test part."""
    given = options(more)
    if not list(data.glob("train.csv")):
        given |= PICTURES
    began = time.monotonic()
    labelled = str(data / "train.csv") if list(data.glob("train.csv")) else str(data / "train")
    test = labelled.replace("train", "test") if labelled.endswith(".csv") else str(data / "test")
    shown = labelled
    if unlabelled:
        shown = str(without_labels(Path(labelled), place / "shown"))
    epochs = max(1, round(SAMPLES / size_of(labelled, given, place)))
    tuned = nf.tune(shown, trials=TRIALS, epochs=epochs, seeds=SEEDS, out=place / "tune", **given)
    best, samples = tuned.winner, LONGER * tuned.samples
    spent = time.monotonic() - began
    found: dict[str, list[dict[str, torch.Tensor]]] = {"defaults": [], "best trial": []}
    changed = {name: value for name, value in best.values.items() if name != "lr" and value != tuned.usual.get(name)}
    arms = {"defaults": ({}, 1.0), "best trial": (changed, float(best.values.get("lr", 1.0)))}
    for seed in TESTED:
        for arm, (values, rate) in arms.items():
            settings = trial.Settings(assemble({**given, **values, "data": labelled, "seed": seed}), rate)
            with hushed():
                ready = trial.start(settings, samples, samples // LONGER // epochs, place / "run")
                asked = judge.by_labels(ready.source, None)
                trial.train(ready, asked, place / "run")
                found[arm].append(right(ready, test))
            print(data.name, seed, arm, {name: float(one.mean()) for name, one in found[arm][-1].items()}, flush=True)
    gain = {}
    for probe in ("kNN", "linear"):
        each = torch.stack([a[probe] - b[probe] for a, b in zip(found["best trial"], found["defaults"], strict=True)])
        lead = crossed(each)
        gain[probe] = {name: round(100 * getattr(lead, name), 2) for name in ("mean", "low", "high")}
        for arm in found:
            gain[probe][arm] = round(100 * sum(float(run[probe].mean()) for run in found[arm]) / len(TESTED), 2)
    check = tuned.gain
    return {
        "set": data.name,
        "unlabelled": unlabelled,
        "recommended": tuned.recommended,
        "judge": tuned.judge,
        "samples": tuned.samples,
        "defaults": tuned.usual,
        "best": best.values,
        "scores": [[round(one.score, 4) if one.score is not None else None, one.state] for one in tuned.trials],
        "check": None if check is None else {name: round(getattr(check, name), 4) for name in ("mean", "low", "high")},
        "matters": {name: None if value != value else round(value, 3) for name, value in tuned.matters.items()},
        "test": gain,
        "tuning_seconds": round(spent),
        "seconds": round(time.monotonic() - began),
    }


def size_of(data: str, given: dict[str, Any], place: Path) -> int:
    """The number of samples of a part."""
    with hushed():
        return len(trial.start(trial.Settings(assemble({**given, "data": data})), 1, 1, place / "run").source)


def without_labels(part: Path, out: Path) -> Path:
    """The part without its labels: pictures in one folder, a table without its last column."""
    out.mkdir()
    if part.suffix in TABLES:
        from csv import reader, writer

        with part.open(newline="", encoding="utf-8") as file:
            rows = [row[:-1] for row in reader(file)]
        with (out / part.name).open("w", newline="", encoding="utf-8") as file:
            writer(file).writerows(rows)
        return out / part.name
    for number, path in enumerate(sorted(one for one in part.rglob("*") if one.is_file())):
        (out / f"{number:05}{path.suffix}").symlink_to(path.resolve())
    return out


def report(runs: list[dict[str, Any]]) -> str:
    """The runs in Markdown."""
    lines = [
        "| set | judged by | recommended | probe | defaults | best trial | lead on the test part |",
        "|---" * 7 + "|",
    ]
    for run in runs:
        for probe, found in run["test"].items():
            lead = f"{found['mean']:+.1f} ({found['low']:+.1f} to {found['high']:+.1f})"
            by = "views" if run["unlabelled"] else "labels"
            said = "yes" if run["recommended"] else "no"
            usual, best = (f"{found[arm]:.1f}" for arm in ("defaults", "best trial"))
            lines.append(f"| {run['set']} | {by} | {said} | {probe} | {usual} | {best} | {lead} |")
    return "\n".join(lines)


def main() -> None:
    """Tune on the sets that are not there yet."""
    own, more = split(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="*")
    parser.add_argument("--unlabelled", action="store_true")
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args(own)
    runs: list[dict[str, Any]] = read("tune")["runs"] if (RESULTS / "tune.json").is_file() else []
    if given.report:
        print(report(runs))
        return
    settings = {"trials": TRIALS, "samples": SAMPLES, "seeds": SEEDS, "longer": LONGER, "tested": TESTED}
    for data in given.data:
        if any((run["set"], run["unlabelled"]) == (data.name, given.unlabelled) for run in runs):
            continue
        with tempfile.TemporaryDirectory() as place:
            runs.append(one(data, given.unlabelled, more, Path(place)))
        print(write("tune", {"settings": settings, "runs": runs, **facts()}), report(runs[-1:]), sep="\n", flush=True)


if __name__ == "__main__":
    main()
