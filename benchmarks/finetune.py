"""What fine-tuning gains on training from scratch and on a linear probe, with few labels; and the fine-grained recipe.

    python benchmarks/finetune.py DATA --name flowers30 --labels 1,5,10 --draws 3 [--pretrain 1500] [--steps 200]
    python benchmarks/finetune.py DATA --name flowers30 --fine-grained [--seeds 0 1 2]

Pretrains without labels on the training part of DATA, or takes a run that did (--start RUN), fine-tunes on draws of its
labels, and judges on its test part, by `nearfar.finetune`. With --fine-grained, four encoders are compared by retrieval
(MAP@R, precision@1) and a linear probe: cross-entropy and `--config fine-grained`, both from scratch and from the same
pretrained encoder. Settings are the usual ones: nothing was chosen on what judges. All runs lie below --work, and what
is done there is not done again; results are added to benchmarks/results/finetune.json, one entry for each name. Options
of `nearfar train` stand after `--`.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
import machine
from methods import interval

import nearfar
from nearfar.api.arms import PROBE, SCRATCH, TUNED
from nearfar.api.options import from_file

RECIPES = {"cross-entropy": {"method": "classify"}, "fine-grained": {"config": "fine-grained"}}


def trained(folder, data, **options):
    """The run in a folder: a new one, or what is there, gone on with."""
    if (folder / "evaluation.json").is_file() or (folder / "done").is_file():
        return folder
    if (folder / "config.toml").is_file():
        nearfar.train(out=folder, resume=True, evaluate=False)
    else:
        nearfar.train(data, out=folder, evaluate=False, **options)
    (folder / "done").touch()
    return folder


def rows_of(evaluation):
    """The rows as plain values."""
    return evaluation.to_json()["rows"]


def fine_tuned(given, options):
    """Rows of three systems for each amount of labels, and what the table says."""
    work = given.work / given.name
    start = given.start or trained(work / "pretrained", given.data, steps=given.pretrain, **options)
    out = work / "finetuned"
    if (out / "finetune.json").is_file():
        run = nearfar.finetune(out=out, resume=True)
    else:
        own = {name: value for name, value in options.items() if name not in ("encoder", "width", "method")}
        run = nearfar.finetune(
            start, given.data, labels=given.labels, draws=given.draws, steps=given.steps, out=out, **own
        )
    print(run.evaluation)
    config = from_file(start / "config.toml")
    begun = {name: config.get(name) for name in ("method", "encoder", "width", "views", "steps", "batch_size")}
    return {"pretrained": begun, "rows": rows_of(run.evaluation), "notes": run.evaluation.notes}


def fine_grained(given, options):
    """Retrieval and a linear probe of four encoders, for each seed."""
    found = []
    for seed in given.seeds:
        work = given.work / given.name / f"seed{seed}"
        start = trained(work / "pretrained", given.data, steps=given.pretrain, seed=seed, **options)
        own = {name: value for name, value in options.items() if name not in ("encoder", "width", "method")}
        for name, recipe in RECIPES.items():
            for begun in ("scratch", "pretrained"):
                how = {**options, **recipe} if begun == "scratch" else {**own, **recipe, "init": start}
                run = trained(work / f"{name}-{begun}", given.data, steps=given.steps, seed=seed, **how)
                evaluation = nearfar.evaluate(run, given.data, baselines=False)
                found.append({"seed": seed, "recipe": name, "start": begun, "rows": rows_of(evaluation)})
                shown = {
                    metric: round(100 * float(evaluation.retrieval[metric]), 1) for metric in ("precision@1", "map@r")
                }
                print(seed, name, begun, shown, "linear", evaluation.linear, flush=True)
    return {"runs": found}


def table(found):
    """What was measured with few labels, as a table of a page: percent, with half widths of 95 % intervals."""
    lines = ["| data | labels | from scratch | linear probe | fine-tuned | lead over scratch | over the probe |"]
    lines.append("|---" * 7 + "|")

    def shown(one, sign=""):
        return "" if one is None else f"{100 * one['mean']:{sign}.1f} ± {50 * (one['high'] - one['low']):.1f}"

    for name, entry in found["entries"].items():
        of: dict[str, dict[str, object]] = {}
        for row in entry.get("rows", []):
            if row["metric"] == "accuracy":
                amount = row["setting"].get("labels per class")
                label = row["setting"].get("labels") if amount is None else f"{amount} a class"
                of.setdefault(str(label), {})[row["system"]] = row
        for label, rows in of.items():
            systems = [rows[key] for key in (SCRATCH, PROBE, TUNED)]
            values = [shown(row["value"]) for row in systems] + [shown(row["lead"], "+") for row in systems[:2]]
            lines.append(f"| {name} | {label} | {' | '.join(values)} |")
    return "\n".join(lines)


def table_of_fine_grained(found):
    """Retrieval and a linear probe of each recipe and start, over seeds, as a table of a page: percent."""
    lines = ["| data | settings | start | seeds | recall at 1 | MAP@R | linear |", "|---" * 7 + "|"]
    for name, entry in found["entries"].items():
        of: dict[tuple[str, str], list[list[float]]] = {}
        for run in entry.get("runs", []):
            whole = [row for row in run["rows"] if row["setting"].get("labels per class") in ("all", None)]
            means = {(row["metric"], row["setting"].get("probe")): row["value"]["mean"] for row in whole}
            values = [means["precision@1", None], means["map@r", None], means["accuracy", "linear"]]
            of.setdefault((run["recipe"], run["start"]), []).append([100 * value for value in values])
        for (recipe, start), values in of.items():
            columns = [interval(list(column)) for column in zip(*values, strict=True)]
            data = name.removesuffix(", fine-grained")
            lines.append(f"| {data} | {recipe} | {start} | {len(values)} | {' | '.join(columns)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--name", required=True)
    parser.add_argument("--labels", default="1,5,10,100%")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--pretrain", type=int, default=1500)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--fine-grained", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--work", type=Path, default=Path("runs/finetune"))
    words, more = machine.split(sys.argv[1:])
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    options = machine.options(more)
    made = fine_grained(given, options) if given.fine_grained else fine_tuned(given, options)
    kept = machine.RESULTS / "finetune.json"
    entries = machine.read("finetune")["entries"] if kept.is_file() else {}
    settings = {name: value for name, value in vars(given).items() if name not in ("data", "work", "start")} | {
        "train": options
    }
    name = f"{given.name}, fine-grained" if given.fine_grained else given.name
    print(machine.write("finetune", {"entries": {**entries, name: {"settings": settings, **made, **machine.facts()}}}))
