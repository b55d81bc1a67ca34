"""What adapting to a domain without labels gains on fine-tuning with the labels of the source alone; how it was chosen.

    python benchmarks/adapt.py --choose DATA [--start ...]   # DATA: labelled pictures, {train,test}/CLASS/FILE
    python benchmarks/adapt.py DATA --name pacs [--seeds 0 1 2] [--start RUN|timm:NAME@FILE]

The first makes two domains of DATA, half of its pictures as they are and the other half as drawings of their edges, and
tries each of SETTINGS both ways: by these labels, which the second never sees, settings may be chosen. The second
adapts between all domains of DATA (folders DATA/DOMAIN/{train,test}/CLASS), both ways, with CHOSEN, and judges on the
test part of the other domain. Unless there is a --start, the encoder is pretrained on the pictures of both domains
without labels. All runs lie below --work, and what is done there is not done again; results are added to
benchmarks/results/adapt.json as they are made. Options of `nearfar train` stand after `--`.
"""

import argparse
import re
import sys
from itertools import permutations
from pathlib import Path

import torch
from PIL import Image, ImageFilter, ImageOps

sys.path.insert(0, str(Path(__file__).parent))
import machine

import nearfar
from nearfar.api.arms import PROBE
from nearfar.downstream.adapt import BOUND, SOURCE
from nearfar.evaluation.task import rows_over_draws, rows_over_samples
from nearfar.files import read_json

SETTINGS = {
    "pseudo-labels": {},
    "batches of both alone": {"pseudo_weight": 0.0},
    "pseudo-labels and coral": {"align": "coral"},
    "pseudo-labels and contrast": {"contrast_weight": 0.5},
    "pseudo-labels and critic": {"align": "adversarial"},
    "statistics": {"align": "statistics"},
}
# What is reported with: the best of them on flowers30, from ImageNet's weights.
CHOSEN: dict[str, object] = {"align": "statistics"}
ENCODER = {"encoder": "resnet8", "width": 16, "image_size": 48}
USUAL = {"precision": "bf16", "knn_every": 0.0, "threads": 1}


def drawing(picture):
    """Dark lines on white where a picture has edges."""
    edges = ImageOps.autocontrast(ImageOps.grayscale(picture).filter(ImageFilter.GaussianBlur(1))).filter(
        ImageFilter.FIND_EDGES
    )
    return ImageOps.invert(ImageOps.autocontrast(edges.point(lambda value: min(255, 3 * value)))).convert("RGB")


def made_pair(data, out):
    """Two domains of one set: in turn, a picture as it is and one as a drawing; every second, to be of PACS's size."""
    if (out / "done").is_file():
        return out
    for part in ("train", "test"):
        for folder in sorted(path for path in (data / part).iterdir() if path.is_dir()):
            for i, file in enumerate(sorted(folder.iterdir())[: 100 if part == "train" else 40]):
                place = out / ("drawing" if i % 2 else "photo") / part / folder.name
                place.mkdir(parents=True, exist_ok=True)
                picture = Image.open(file).convert("RGB")
                (drawing(picture) if i % 2 else picture).save(place / f"{file.stem}.png")
    (out / "done").touch()
    return out


def pretrained(given, data, work, seed, options):
    """A run on the pictures of both domains without their labels: a new one, or what is there, gone on with."""
    folder = work / f"pretrained{seed}"
    if not (folder / "done").is_file():
        if (folder / "config.toml").is_file():
            nearfar.train(out=folder, resume=True, evaluate=False)
        else:
            how = {"views": "colours-change", "batch_size": 128, "steps": given.pretrain, **ENCODER, **USUAL, **options}
            nearfar.train(f"{data}:train", out=folder, seed=seed, evaluate=False, **how)
        (folder / "done").touch()
    return folder


def right_of(told):
    """Of each sample that judges, whether it is named rightly, as text: 0110."""
    return "".join(str(int(a == b)) for a, b in zip(told["guess"], told["truth"], strict=True))


def adapted(start, data, source, folder, *, compare, seed, steps, **options):
    """What each system names rightly of the other domain."""
    done = folder / "finetune.json"
    if done.is_file() and (folder / "config.toml").is_file():
        nearfar.finetune(out=folder, resume=True, quiet=True)
    else:
        nearfar.finetune(
            start, data, task="adapt", source_domain=source, compare=compare, out=folder, seed=seed, steps=steps,
            quiet=True, **options,
        )  # fmt: skip
    kept = folder / "comparison.json"  # of what it is compared with, where that was asked for
    arms = read_json(kept) if kept.is_file() else {}
    found = {}
    for system, short in {PROBE: "probe", SOURCE: "source", BOUND: "bound"}.items():
        arm = next((told for name, told in arms.items() if name.startswith(system.replace(" ", "-"))), None)
        if arm is not None:
            found[short] = right_of(arm)
    found["adapted"] = right_of(read_json(folder / "head" / "judged.json"))
    return found


def intervals(runs):
    """Accuracy of each system over seeds and test samples, and the lead of the adapted one, in points of percent."""
    names = [name for name in ("probe", "source", "bound", "adapted") if name in runs[0]["right"]]
    values = {
        name: torch.tensor([[int(c) for c in run["right"][name]] for run in runs], dtype=torch.float64)
        for name in names
    }
    if len(runs) > 1:
        rows = rows_over_draws("adapt", "accuracy", {}, values, chance=None)
    else:
        rows = rows_over_samples("adapt", "accuracy", {}, {name: value[0] for name, value in values.items()})

    def plain(one):
        return None if one is None else {"mean": 100 * one.mean, "low": 100 * one.low, "high": 100 * one.high}

    return {row.system: {"accuracy": plain(row.value), "lead": plain(row.lead)} for row in rows}


def table(found):
    """What was measured, as a table of a page: percent, with half widths of 95 % intervals."""
    lines = [
        "| data | from, to | probe | source alone | adapted | all labels | lead over source alone |",
        "|---" * 7 + "|",
    ]

    def shown(one, sign=""):
        return f"{one['mean']:{sign}.1f} ± {(one['high'] - one['low']) / 2:.1f}"

    for name, entry in found["entries"].items():
        for way, systems in entry.get("summary", {}).items():
            values = [shown(systems[key]["accuracy"]) for key in ("probe", "source", "adapted", "bound")]
            lead = shown(systems["source"]["lead"], "+")
            lines.append(f"| {name} | {way.replace(' to ', ', ')} | {' | '.join(values)} | {lead} |")
    for name, entry in found["entries"].items():
        if "accuracy" in entry:
            ways = list(next(iter(entry["accuracy"].values())))
            lines += ["", f"How settings were tried ({name}), percent right:", ""]
            lines += [f"| | {' | '.join(ways)} |", "|---" * (1 + len(ways)) + "|"]
            for system, values in entry["accuracy"].items():
                lines.append(
                    f"| {system} | {' | '.join(f'{values[way]:.1f}' if way in values else '' for way in ways)} |"
                )
    return "\n".join(lines)


def keep(name, value):
    """Add an entry to the results."""
    kept = machine.RESULTS / "adapt.json"
    entries = machine.read("adapt")["entries"] if kept.is_file() else {}
    print(machine.write("adapt", {"entries": {**entries, name: {**value, **machine.facts()}}}))


def facts_of(given, options):
    """What else there is to know of a run; of a file of weights its name alone."""
    start = "pretrained on both domains" if given.start is None else re.sub("@.*/", "@", given.start)
    return {"start": start, "steps": given.steps, **options}


def choose(given, options):
    """Each of SETTINGS on the pair that was made, both ways."""
    data = made_pair(given.data, given.work / f"{given.data.name}-pair")
    name_of = f"choice on {given.data.name}" if given.name is None else given.name
    work, found = given.work / name_of.replace(" ", "-"), {}
    for seed in given.seeds:
        start = given.start or pretrained(given, data, work, seed, options)
        for source, target in permutations(("photo", "drawing")):
            way = f"{source} to {target}"
            for name, settings in SETTINGS.items():
                folder = work / f"seed{seed}" / way.replace(" ", "-") / name.replace(" ", "-").replace(",", "")
                compare = name == next(iter(SETTINGS))
                how = {**USUAL, **options, **settings}
                right = adapted(start, data, source, folder, compare=compare, seed=seed, steps=given.steps, **how)
                for system, text in right.items():
                    key = name if system == "adapted" else system
                    found.setdefault(key, {}).setdefault(way, []).append(100 * text.count("1") / len(text))
                print(seed, way, name, {s: round(100 * t.count("1") / len(t), 1) for s, t in right.items()}, flush=True)
                means = {key: {way: sum(x) / len(x) for way, x in ways.items()} for key, ways in found.items()}
                keep(name_of, {"accuracy": means, "seeds": given.seeds, **facts_of(given, options)})


def report(given, options):
    """All ways between the domains of DATA, for each seed."""
    name = given.name or given.data.name
    work = given.work / name
    domains = sorted(path.name for path in given.data.iterdir() if path.is_dir())
    ways: dict[str, list[dict[str, object]]] = {}
    for seed in given.seeds:
        start = given.start or pretrained(given, given.data, work, seed, options)
        for source, target in permutations(domains, 2):
            way = f"{source} to {target}"
            folder = work / f"seed{seed}" / way.replace(" ", "-")
            how = {**USUAL, **options, **CHOSEN}
            right = adapted(start, given.data, source, folder, compare=True, seed=seed, steps=given.steps, **how)
            ways.setdefault(way, []).append({"seed": seed, "right": right})
            print(seed, way, {s: round(100 * t.count("1") / len(t), 1) for s, t in right.items()}, flush=True)
            summary = {way: intervals(runs) for way, runs in ways.items()}
            keep(name, {"summary": summary, "runs": ways, "chosen": CHOSEN, **facts_of(given, options)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--name", help="of the entry of the results; by default that of the data")
    parser.add_argument("--start")
    parser.add_argument("--pretrain", type=int, default=250)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--work", type=Path, default=Path("runs/adapt"))
    words, more = machine.split(sys.argv[1:])
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    options = machine.options(more)
    (choose if given.choose else report)(given, options)
