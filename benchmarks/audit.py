"""Does an audit find what is wrong? Errors are planted, and each ranking is judged by AUROC and average precision.

    python benchmarks/audit.py DATA --name flowers30 --foreign OTHER [--steps 400] [--seeds 0 1 2]

DATA and OTHER are folders of pictures whose sub-folders are classes, or tables of texts with a column of classes. Of
the samples 3 % get a copy (pictures: cropped by up to 4 %, another size and compression; texts: a word is left out) and
10 % a label of another class, and 3 % as many samples of OTHER are added under labels drawn at random. The encoder is
trained on all of it without labels. Beside each ranking stands a baseline: neighbours by the raw input, and for labels
the share of the 20 nearest by the trained encoder that have another label. Nothing is chosen by what is reported.
"""

import argparse
import csv
import io
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

sys.path.insert(0, str(Path(__file__).parent))
import machine

import nearfar
from nearfar.api.sources import open_for
from nearfar.evaluation.embedding import embed_source
from nearfar.inspection.audit import duplicates, labels, outliers
from nearfar.inspection.audit.neighbours import neighbours


def plant_pictures(data, foreign, folder, rng):
    """Copies of the pictures of two folders, with errors; returns what is wrong with each by its file's name."""
    from PIL import Image

    files = sorted(file for file in data.glob("*/*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    others = sorted(file for file in foreign.glob("*/*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    classes = sorted({file.parent.name for file in files})
    wrong = {}

    def put(name, label, image, what):
        (folder / label).mkdir(exist_ok=True, parents=True)
        image.convert("RGB").save(folder / label / f"{name}.jpg", quality=92 if "copy" not in what else 70)
        wrong[f"{label}/{name}.jpg"] = what

    swapped = set(rng.choice(len(files), len(files) // 10, replace=False).tolist())
    copied = set(rng.choice(len(files), len(files) * 3 // 100, replace=False).tolist())
    for i, file in enumerate(files):
        image, label = Image.open(file), file.parent.name
        given = rng.choice([one for one in classes if one != label]) if i in swapped else label
        what = {"label"} if i in swapped else set()
        put(f"{i:05d}", given, image, what | ({"copy"} if i in copied else set()))
        if i in copied:
            width, height = image.size
            left, top, right, bottom = (rng.random(4) * 0.04 * np.array([width, height, width, height])).tolist()
            cut = image.crop((int(left), int(top), width - int(right), height - int(bottom)))
            put(f"{i:05d}c", label, cut.resize((int(0.8 * width), int(0.8 * height))), {"copy"})
    for i in rng.choice(len(others), len(files) * 3 // 100, replace=False).tolist():
        put(f"f{i:05d}", rng.choice(classes), Image.open(others[i]), {"foreign", "label"})
    return folder, wrong


def plant_texts(data, foreign, folder, rng):
    """As `plant_pictures`, of the texts of two tables."""
    rows = [row for row in read(data) if row[0].strip()]
    others = [row[0] for row in read(foreign) if row[0].strip()]
    classes = sorted({row[1] for row in rows})
    swapped = set(rng.choice(len(rows), len(rows) // 10, replace=False).tolist())
    copied = set(rng.choice(len(rows), len(rows) * 3 // 100, replace=False).tolist())
    lines, wrong = [], []
    for i, (text, label, *_) in enumerate(rows):
        given = rng.choice([one for one in classes if one != label]) if i in swapped else label
        lines.append((text, given))
        wrong.append(({"label"} if i in swapped else set()) | ({"copy"} if i in copied else set()))
        words = text.split()
        if i in copied:
            left_out = rng.integers(len(words))
            lines.append((" ".join(words[:left_out] + words[left_out + 1 :]) or text, label))
            wrong.append({"copy"})
    for i in rng.choice(len(others), len(rows) * 3 // 100, replace=False).tolist():
        lines.append((others[i], rng.choice(classes)))
        wrong.append({"foreign", "label"})
    file = folder / "planted.csv"
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("text", "label"), *lines])
    file.write_text(text.getvalue(), encoding="utf-8")
    return file, {f"planted.csv#{i}": what for i, what in enumerate(wrong)}


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def judged(scores, wrong, keys, what, flagged=None):
    truth = np.array([what in wrong[key] for key in keys])
    marks = {}
    if flagged is not None:  # of copies, one of each pair
        right = int(truth[flagged].sum())
        marks = {"flagged": len(flagged), "precision": right / max(len(flagged), 1), "recall": right / int(truth.sum())}
    return marks | {
        "auroc": round(float(roc_auc_score(truth, scores)), 4),
        "average precision": round(float(average_precision_score(truth, scores)), 4),
        "share": round(float(truth.mean()), 4),
    }


def measure(arguments, seed):
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder, rng = Path(temporary), np.random.default_rng(seed)
        plant = plant_pictures if Path(arguments.data).is_dir() else plant_texts
        (folder / "data").mkdir()
        data, wrong = plant(Path(arguments.data), Path(arguments.foreign), folder / "data", rng)
        options = {name: json.loads(value) for name, _, value in (pair.partition("=") for pair in arguments.option)}
        if arguments.method is not None:
            options["method"] = arguments.method
        run = nearfar.train(
            str(data), steps=arguments.steps, seed=seed, out=folder / "run", quiet=True, evaluate=False, **options
        )
        source = open_for(run.encoder, data)
        vectors, rows = embed_source(run.encoder, source, show=False)
        source = source.take(rows)
        numbers, keys = source.labels, list(source.keys)
        near = neighbours(vectors)
        copies, _ = duplicates.duplicates(near, source.ids, np.zeros(len(keys)), len(source.label_names))
        given = labels.probabilities(vectors, near, numbers, len(source.label_names), seed)
        at = np.arange(len(numbers))
        others = given.copy()
        others[at, numbers] = -np.inf
        found = {
            "copy": judged(duplicates.pair_scores(near, len(source.label_names)), wrong, keys, "copy", copies.samples),
            "foreign": judged(outliers.distances(near), wrong, keys, "foreign", outliers.outliers(near).samples),
            "label": judged(
                others.max(axis=1) - given[at, numbers],
                wrong,
                keys,
                "label",
                labels.wrong_labels(given, numbers).samples,
            ),
        }
        twenty = torch.from_numpy(numbers[near.first])[near.rows[:, :20]].numpy()[near.same]
        beside = {"label": judged((twenty != numbers[:, None]).mean(axis=1), wrong, keys, "label")}
        raw = source.vectors()
        if raw is not None:
            plain = neighbours(raw)
            beside["copy"] = judged(plain.similarities[:, 0].numpy()[plain.same], wrong, keys, "copy")
            beside["foreign"] = judged(outliers.distances(plain), wrong, keys, "foreign")
        shutil.rmtree(folder / "run")
    return {"seed": seed, "samples": len(keys), "found": found, "baseline": beside, "seconds": time.monotonic() - began}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--name", required=True)
    parser.add_argument("--foreign", required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--method", default=None)
    parser.add_argument("--option", nargs="*", default=[], help="further options of the training, NAME=JSON")
    arguments = parser.parse_args()
    settings = {"steps": arguments.steps, "method": arguments.method, "options": arguments.option}
    name = f"audit-{arguments.name}"
    runs = machine.runs_so_far(name, settings)
    for seed in arguments.seeds:
        if any(run["seed"] == seed for run in runs):
            continue
        runs.append(measure(arguments, seed))
        print(json.dumps(runs[-1]), flush=True)
        machine.write(name, {"settings": settings, "runs": runs})
    for what in ("copy", "foreign", "label"):
        for side in ("found", "baseline"):
            values = [run[side][what]["auroc"] for run in runs if what in run[side]]
            if values:
                print(f"{what:8} {side:9} AUROC {np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
