"""Rows with few labels: how well a linear probe of an encoder ranks two classes, beside the raw input and boosting.

    python benchmarks/tables.py adult/ --label-column income            # a folder of train.csv and test.csv
    python benchmarks/tables.py adult/ --label-column income --validate # a fifth of train.csv in place of test.csv

For each seed an encoder is trained on all training rows without labels, and for each number of labels one by supervised
contrast (`supcon`), which is given those labels and no others. The area under the ROC curve on the test part is that of
`nearfar evaluate --labels`: for each of ten draws of labels in all the probe is fitted to those, its strength chosen by
cross-validation among them; with all labels on a fifth of them. The supervised encoders are judged by a probe of the
labels that they saw. Logistic regression and boosting have scikit-learn's settings. Each run is kept in
results/tables.json when it is finished; started again, the benchmark goes on.
"""

import argparse
import csv
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import facts, runs_so_far, write
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

import nearfar as nf
from nearfar.api.baselines import untrained
from nearfar.api.run import Run as TrainedRun
from nearfar.api.sources import open_for
from nearfar.contract import Encoder, Source
from nearfar.evaluation.embedding import embed_source, whiten
from nearfar.evaluation.linear import Scaler, fit_linear
from nearfar.evaluation.probes import FOLDS
from nearfar.evaluation.tasks.classify import shares_of
from nearfar.modalities.table.baselines import Boosting

DRAWS = 10
Run = dict[str, Any]
Areas = dict[str, float]
Classify = Callable[[Source, Tensor, Source, int], Tensor | None]
Draws = dict[int, list[Tensor]]
"""Rows whose labels a probe is given, by their number."""
SETTINGS: dict[str, Any] = {
    "precision": "fp32",
    "threads": 1,
    "knn_every": 0.0,
    "quiet": True,
    "evaluate": False,
    "hold_out": False,
}


def probe(train: Tensor, test: Tensor, labels: Tensor, truth: Tensor, rows: Tensor | None, scaler: Scaler) -> float:
    """The area under the ROC curve of a probe fitted to some rows, or to all of them."""
    some, named = (train, labels) if rows is None else (train[rows], labels[rows])
    fitted = fit_linear(scaler.apply(some), named, classes=2, scaler=scaler, folds=0 if rows is None else FOLDS)
    return float(roc_auc_score(truth, fitted.margin_standardised(scaler.apply(test))))


def areas(train: Tensor, test: Tensor, labels: Tensor, truth: Tensor, draws: Draws) -> Areas:
    """By the number of labels, the mean over its draws."""
    scaler = Scaler.of(train)
    found = {
        str(count): float(np.mean([probe(train, test, labels, truth, rows, scaler) for rows in some]))
        for count, some in draws.items()
    }
    return found | {"all": probe(train, test, labels, truth, None, scaler)}


def classified(classify: Classify, train: Source, test: Source, labels: Tensor, truth: Tensor, draws: Draws) -> Areas:
    """The same of a classifier of its own."""

    def area(rows: Tensor | None) -> float:
        some, named = (train, labels) if rows is None else (train.take(rows.numpy()), labels[rows])
        found = classify(some, named, test, 2)
        assert found is not None
        return float(roc_auc_score(truth, found[:, 1]))

    found = {str(count): float(np.mean([area(rows) for rows in some])) for count, some in draws.items()}
    return found | {"all": area(None)}


def logistic(train: Source, labels: Tensor, test: Source, classes: int) -> Tensor:
    """scikit-learn's logistic regression, with its own settings, on standardised numbers and one-hot categories."""
    one, other = train.vectors(), test.vectors()
    assert one is not None
    assert other is not None
    model = LogisticRegression(max_iter=2000).fit(one, labels)
    return torch.from_numpy(model.predict_proba(other))


def vectors(encoder: Encoder, *sources: Source) -> list[Tensor]:
    """What the encoder makes of the rows."""
    return [embed_source(encoder, source, show=False)[0] for source in sources]


def trained(data: Path, given: argparse.Namespace, seed: int, out: Path, **more: Any) -> TrainedRun:
    """A run of the benchmark's length."""
    length = {"steps": given.steps, "batch_size": given.batch_size}
    return nf.train(data, label_column=given.label_column, seed=seed, out=out, **length, **SETTINGS, **more)


def unsupervised(data: Path, given: argparse.Namespace, seed: int, folder: Path) -> dict[str, Any]:
    """All systems that need no labels, on the same draws of labels."""
    run = trained(data / "train.csv", given, seed, folder / f"run-{seed}")
    train, test = (
        open_for(run.encoder, str(data / f"{part}.csv"), label_column=given.label_column) for part in ("train", "test")
    )
    assert train.labels is not None
    assert test.labels is not None
    labels, truth = torch.from_numpy(train.labels), torch.from_numpy(test.labels)
    draws = shares_of(labels, given.labels, DRAWS, seed)
    before = untrained(run.encoder, train, run.path)
    if run.encoder.config.get("whitened"):
        whiten(before, train)
    raw = train.vectors(), test.vectors()
    assert raw[0] is not None
    assert raw[1] is not None
    return {
        "trained encoder": areas(*vectors(run.encoder, train, test), labels, truth, draws),
        "untrained encoder": areas(*vectors(before, train, test), labels, truth, draws),
        "raw input": areas(*raw, labels, truth, draws),
        "logistic regression": classified(logistic, train, test, labels, truth, draws),
        "gradient boosting": classified(Boosting().classify, train, test, labels, truth, draws),
    }


def supervised(data: Path, given: argparse.Namespace, seed: int, count: int | None, folder: Path) -> float:
    """The area of a probe of `count` labels, on an encoder that has learnt from those."""
    with open(data / "train.csv", newline="") as file:
        header, *rows = csv.reader(file)
    at = header.index(given.label_column)
    labels = np.unique([row[at] for row in rows], return_inverse=True)[1]
    chosen = torch.arange(len(rows))
    if count is not None:
        chosen = shares_of(torch.from_numpy(labels), [count], 1, seed)[count][0]
    shown = set(chosen.tolist())
    partly = folder / f"labels-{seed}-{count}.csv"
    with open(partly, "w", newline="") as file:
        kept = ([*row[:at], row[at] if i in shown else "", *row[at + 1 :]] for i, row in enumerate(rows))
        csv.writer(file).writerows([header, *kept])
    run = trained(partly, given, seed, folder / f"supcon-{seed}-{count}", method="supcon")
    train, test = (
        open_for(run.encoder, str(data / f"{part}.csv"), label_column=given.label_column) for part in ("train", "test")
    )
    assert test.labels is not None
    learnt, judged = vectors(run.encoder, train, test)
    truth = torch.from_numpy(test.labels)
    some = None if count is None else chosen
    return probe(learnt, judged, torch.from_numpy(labels), truth, some, Scaler.of(learnt))


def runs_of(data: Path, given: argparse.Namespace, done: list[Run], folder: Path) -> Iterator[Run]:
    """The runs that are not done yet."""
    there = {(run["method"], run["seed"], run.get("labels")) for run in done}
    for seed in range(given.seeds):
        if ("simclr", seed, None) not in there:
            yield {"method": "simclr", "seed": seed, "area": unsupervised(data, given, seed, folder)}
        for count in (*given.labels, None):
            if ("supcon", seed, count or "all") not in there:
                area = supervised(data, given, seed, count, folder)
                yield {"method": "supcon", "seed": seed, "labels": count or "all", "area": area}


def summary(runs: list[Run]) -> dict[str, dict[str, str]]:
    """By system and number of labels: the mean and the least and largest of all seeds."""
    values: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        if run["method"] == "supcon":
            values.setdefault("supervised contrast", {}).setdefault(str(run["labels"]), []).append(run["area"])
            continue
        for system, found in run["area"].items():
            for count, area in found.items():
                values.setdefault(system, {}).setdefault(count, []).append(area)
    return {
        system: {
            count: f"{np.mean(x):.3f}" + (f" [{min(x):.3f}, {max(x):.3f}]" if len(x) > 1 else "")
            for count, x in sorted(found.items())
        }
        for system, found in values.items()
    }


def table(found: dict[str, Any]) -> str:
    """The summary as a table."""
    counts = [*map(str, found["settings"]["labels"]), "all"]
    lines = [f"| | {' | '.join(f'{count} labels' for count in counts)} |", "|---" * (1 + len(counts)) + "|"]
    for system, of in found["summary"].items():
        lines.append(f"| {system} | {' | '.join(of.get(count, '') for count in counts)} |")
    return "\n".join(lines)


def validation(data: Path, folder: Path) -> Path:
    """A fifth of the training rows as test.csv, the others as train.csv."""
    header, *rows = (data / "train.csv").read_text().splitlines()
    order = np.random.default_rng(0).permutation(len(rows))
    cut = len(rows) // 5
    for name, part in (("test", order[:cut]), ("train", order[cut:])):
        (folder / f"{name}.csv").write_text("\n".join([header, *(rows[i] for i in sorted(part))]) + "\n")
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--label-column", required=True)
    parser.add_argument("--labels", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--validate", action="store_true")
    given = parser.parse_args()
    logging.getLogger("nearfar").addHandler(logging.NullHandler())
    name = "tables-validation" if given.validate else "tables"
    settings = {key: value for key, value in vars(given).items() if key != "data"} | {"draws": DRAWS}
    runs = runs_so_far(name, settings)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "runs").mkdir()
        data = validation(given.data, folder) if given.validate else given.data
        for run in runs_of(data, given, runs, folder / "runs"):
            runs.append(run)
            path = write(name, {"settings": settings, "summary": summary(runs), "runs": runs, **facts()})
            print(run, flush=True)
    for system, found in summary(runs).items():
        print(f"{system:32}", *(f"{count}: {text}" for count, text in found.items()), sep="  ")
