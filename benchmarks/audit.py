"""Does an audit find what is wrong? Errors are planted, and each ranking is judged by AUROC and average precision.

    python benchmarks/audit.py data/flowers30/train --name flowers30 --foreign data/sign_digits/train --steps 600
    python benchmarks/audit.py data/banking77/train.csv --name banking77 --foreign data/stsb_en/train.csv --steps 300
    python benchmarks/audit.py data/fsdd/train --name fsdd --steps 600
    python benchmarks/audit.py data/flowers30/train --name flowers30-lite0 --foreign data/sign_digits/train \\
        --published timm:tf_efficientnet_lite0@lite0.safetensors --called timm:tf_efficientnet_lite0
    python benchmarks/audit.py data/banking77/train.csv --name banking77-minilm --foreign data/stsb_en/train.csv \\
        --every 4 --published st:MiniLM --called st:MiniLM
    python benchmarks/audit.py table                                   # the table, as docs/audit.md has it

DATA and OTHER are folders of pictures or sounds whose sub-folders are classes, or tables of texts with a column of
classes. Of the samples 3 % get a copy (pictures: cropped by up to 4 %, another size and compression; texts: a word is
left out; sounds: up to 4 % are cut off, quieter, through Ogg Vorbis) and 10 % a label of another class, and 3 % as many
foreign samples are added under labels drawn at random: samples of OTHER, or sounds of DATA played backwards. The
encoder is trained on all of it without labels, or is a published one as it came. Beside each ranking stands a
baseline: neighbours by the raw input (texts: TF-IDF of words), and for labels the share of the 20 nearest by the same
encoder that have another label. Seeds draw the errors and the training. Nothing is chosen by what is reported.
"""

import argparse
import csv
import io
import json
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
from nearfar.evaluation.intervals import over_seeds
from nearfar.inspection.audit import duplicates, labels, outliers
from nearfar.inspection.audit.neighbours import neighbours

NAMES = {"copy": "duplicates", "foreign": "foreign samples", "label": "swapped labels"}


def plant_pictures(data, foreign, folder, rng, every):
    """Copies of the pictures of two folders, with errors; returns what is wrong with each by its file's name."""
    from PIL import Image

    files = sorted(file for file in data.glob("*/*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))[::every]
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


def plant_sounds(data, foreign, folder, rng, every):
    """As `plant_pictures`, of the sounds of a folder; foreign are those of its sounds that are played backwards."""
    import soundfile

    files = sorted(data.glob("*/*.wav"))[::every]
    classes = sorted({file.parent.name for file in files})
    wrong = {}

    def put(name, label, wave, rate, what, form="wav"):
        (folder / label).mkdir(exist_ok=True, parents=True)
        soundfile.write(folder / label / f"{name}.{form}", wave, rate)
        wrong[f"{label}/{name}.{form}"] = what

    order = rng.permutation(len(files))
    few = len(files) * 3 // 100
    backwards, kept = order[:few].tolist(), order[few:].tolist()
    swapped = set(rng.choice(kept, len(kept) // 10, replace=False).tolist())
    copied = set(rng.choice(kept, few, replace=False).tolist())
    for i in kept:
        (wave, rate), label = soundfile.read(files[i]), files[i].parent.name
        given = rng.choice([one for one in classes if one != label]) if i in swapped else label
        what = {"label"} if i in swapped else set()
        put(f"{i:05d}", given, wave, rate, what | ({"copy"} if i in copied else set()))
        if i in copied:
            start, stop = (rng.random(2) * 0.04 * len(wave)).astype(int).tolist()
            put(f"{i:05d}c", label, 0.6 * wave[start : len(wave) - stop], rate, {"copy"}, "ogg")
    for i in backwards:
        wave, rate = soundfile.read(files[i])
        put(f"f{i:05d}", rng.choice(classes), wave[::-1], rate, {"foreign", "label"})
    return folder, wrong


def plant_texts(data, foreign, folder, rng, every):
    """As `plant_pictures`, of the texts of two tables."""
    rows = [row for row in read(data) if row[0].strip()][::every]
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
        place = Path(arguments.data)
        sounds = place.is_dir() and next(place.glob("*/*.wav"), None) is not None
        plant = plant_sounds if sounds else plant_pictures if place.is_dir() else plant_texts
        (folder / "data").mkdir()
        data, wrong = plant(place, arguments.foreign and Path(arguments.foreign), folder / "data", rng, arguments.every)
        if arguments.published:
            encoder = nearfar.load(arguments.published)
        else:
            options = {name: json.loads(value) for name, _, value in (one.partition("=") for one in arguments.option)}
            if arguments.method is not None:
                options["method"] = arguments.method
            encoder = nearfar.train(
                str(data), steps=arguments.steps, seed=seed, out=folder / "run", quiet=True, evaluate=False, **options
            ).encoder
        source = open_for(encoder, data)
        vectors, rows = embed_source(encoder, source, show=False)
        source = source.take(rows)
        numbers, keys = source.labels, list(source.keys)
        classes = len(source.label_names)
        near = neighbours(vectors)
        content = source.content()
        measures = [near] if content is None else [near, neighbours(content)]
        copies, _ = duplicates.duplicates(measures, source.ids, np.zeros(len(keys)), classes)
        given = labels.probabilities(vectors, near, numbers, classes, seed)
        ranking = labels.wrong_labels(given, numbers)
        scores = np.empty(len(keys))
        scores[ranking.rows] = ranking.scores
        found = {
            "copy": judged(duplicates.pair_scores(measures), wrong, keys, "copy", copies.samples),
            "foreign": judged(
                outliers.scores(near, vectors, numbers),
                wrong,
                keys,
                "foreign",
                outliers.outliers(near, vectors, numbers).samples,
            ),
            "label": judged(scores, wrong, keys, "label", ranking.samples),
        }
        twenty = torch.from_numpy(numbers[near.first])[near.rows[:, :20]].numpy()[near.same]
        beside = {"label": judged((twenty != numbers[:, None]).mean(axis=1), wrong, keys, "label")}
        plain = neighbours(raw(source, data))
        beside["copy"] = judged(plain.similarities[:, 0].numpy()[plain.same], wrong, keys, "copy")
        beside["foreign"] = judged(outliers.distances(plain), wrong, keys, "foreign")
    return {"seed": seed, "samples": len(keys), "found": found, "baseline": beside, "seconds": time.monotonic() - began}


def raw(source, data):
    """A vector of each sample that no encoder has made."""
    if data.is_dir():
        return source.vectors()
    from sklearn.feature_extraction.text import TfidfVectorizer

    place = {f"{data.name}#{i}": row[0] for i, row in enumerate(read(data))}
    words = TfidfVectorizer(max_features=4096, token_pattern=r"\S+").fit_transform([place[key] for key in source.keys])
    return torch.from_numpy(words.toarray().astype(np.float32))


def table():
    """The figures of all results in Markdown: mean and 95 % interval (Student's t) over the draws."""
    lines = [
        "| set | encoder | error | AUROC | average precision | flagged: precision / recall | baseline: AUROC | "
        "average precision |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(machine.RESULTS.glob("audit-*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        runs, settings = content["runs"], content["settings"]
        for what in ("copy", "foreign", "label"):

            def shown(side, name, runs=runs, what=what):
                values = torch.tensor([run[side][what][name] for run in runs])
                found = over_seeds(values)
                return f"{found.mean:.3f} ± {found.half_width:.3f}" if len(values) > 1 else f"{found.mean:.3f}"

            flags = (np.mean([run["found"][what][name] for run in runs]) for name in ("precision", "recall"))
            encoder = f"`{settings['published']}`" if settings["published"] else f"trained, {settings['steps']} steps"
            lines.append(
                f"| {settings['data']} | {encoder} | {NAMES[what]} | {shown('found', 'auroc')} | "
                f"{shown('found', 'average precision')} | {' / '.join(f'{x:.2f}' for x in flags)} | "
                f"{shown('baseline', 'auroc')} | {shown('baseline', 'average precision')} |"
            )
    return "\n".join(lines)


def main():
    if sys.argv[1:] == ["table"]:
        print(table())
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--name", required=True)
    parser.add_argument("--foreign")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--every", type=int, default=1, help="take every so many-th sample of DATA")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--method", default=None)
    parser.add_argument("--published", default=None, help="a published encoder in place of a trained one")
    parser.add_argument("--called", default=None, help="how the table calls it")
    parser.add_argument("--option", nargs="*", default=[], help="further options of the training, NAME=JSON")
    arguments = parser.parse_args()
    settings = {
        "data": arguments.name.partition("-")[0],
        "every": arguments.every,
        "foreign": "backwards" if arguments.foreign is None else Path(arguments.foreign).parent.name,
        "published": arguments.called or arguments.published,
        "steps": None if arguments.published else arguments.steps,
        "method": arguments.method,
        "options": arguments.option,
    }
    name = f"audit-{arguments.name}"
    runs = machine.runs_so_far(name, settings)
    for seed in arguments.seeds:
        if any(run["seed"] == seed for run in runs):
            continue
        runs.append(measure(arguments, seed))
        print(json.dumps(runs[-1]), flush=True)
        machine.write(name, {"settings": settings, **machine.facts(), "runs": runs})


if __name__ == "__main__":
    main()
