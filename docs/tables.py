"""Writes the tables that are computed: settings from the code, figures from benchmarks/results.

python docs/tables.py      # after a change of either; a test holds the pages to them
"""

import json
import sys
from pathlib import Path

from torch import Tensor

ROOT = Path(__file__).parents[1]
PAGES = (
    *(ROOT / "docs" / f"{page}.md" for page in ("methods", "scaling", "health")),
    ROOT / "benchmarks" / "README.md",
)
SIZES = (1_000, 10_000, 100_000, 1_000_000)
RESULTS = {
    "cifar5k": "5,000 pictures of CIFAR-10, judged on 2,000 others",
    "flowers30": "flowers30: 1,200 photographs of 30 kinds of flower at 64 px, judged on 449 others",
}

sys.path[:0] = [str(ROOT / "benchmarks")]
import alarms as broken  # noqa: E402
import memory as memories  # noqa: E402
from methods import table  # noqa: E402

from nearfar.contract import Encoder, Facts  # noqa: E402
from nearfar.methods.table import METHODS, load  # noqa: E402


class Empty(Encoder):
    """An encoder of 512 dimensions that has nothing else."""

    dim = 512

    def features(self, inputs: Tensor) -> Tensor:
        """Never called."""
        raise NotImplementedError


def settings() -> str:
    """What each method chooses for data of several sizes."""
    lines = ["| method | option | " + " | ".join(f"{size:,}" for size in SIZES) + " | rate |", "|---" * 7 + "|"]
    for name in METHODS:
        kind = load(name)
        found = [
            kind.settle(kind.Options(), Facts(samples=size, labelled=size, device="cpu", threads=1), Empty())
            for size in SIZES
        ]
        first, rate = f"`{name}`", f"{kind.rate:g}"
        for option in [choice.name for choice in found[0][1]] or [None]:
            values = ["" if option is None else f"{getattr(options, option):,}" for options, _ in found]
            lines.append(f"| {first} | {option or 'none is automatic'} | {' | '.join(values)} | {rate} |")
            first = rate = ""
    return "\n".join(lines)


def figures() -> str:
    """The tables of benchmarks/methods.py that were measured."""
    parts = []
    for name, title in RESULTS.items():
        path = ROOT / "benchmarks" / "results" / f"methods-{name}.json"
        if not path.is_file():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        seeds = len({run["seed"] for run in found["runs"]})
        machine = f"{found['machine']['threads']} threads of {found['machine']['processor']}"
        config = found["runs"][0]["config"]
        encoder = f"{config['model']['encoder']} of width {config['model']['width']}"
        size = f"{config['modality_options']['image_size']} px, batches of {config['optimisation']['batch_size']}"
        budget = found["settings"]["budget"]
        parts.append(
            f"### {title}\n\n`--budget {budget}` a run, {encoder}, {size}; {seeds} seed{'s' * (seeds > 1)}, {machine}, "
            f"torch {found['versions']['torch']} (`methods-{name}`).\n\n{table(found['runs'])}"
        )
    return "\n\n".join(parts)


def margins() -> str:
    """What benchmarks/margins.py measured, the largest lead first."""
    found = json.loads((ROOT / "benchmarks" / "results" / "margins.json").read_text(encoding="utf-8"))
    lines = [
        f"Nearest of one labelled sample of each class, {len(found['seeds'])} seeds, {found['settings']['steps']} "
        "steps (`margins`), in percent:",
        "",
        "| method | untrained | trained | lead, mean ± standard deviation | smallest lead |",
        "|---" * 5 + "|",
    ]
    for name, of in sorted(found["methods"].items(), key=lambda item: -item[1]["lead"]):
        shown = [
            f"{100 * of[key]:.1f}" for key in ("untrained", "trained", "lead", "standard_deviation", "smallest_lead")
        ]
        lines.append(f"| {name} | {shown[0]} | {shown[1]} | {shown[2]} ± {shown[3]} | {shown[4]} |")
    return "\n".join(lines)


def memory() -> str:
    """What benchmarks/memory.py measured."""
    path = ROOT / "benchmarks" / "results" / "memory-resnet18w16.json"
    if not path.is_file():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    return (
        f"`benchmarks/memory.py`: {' '.join(found['options'])}, {found['machine']['threads']} threads of "
        f"{found['machine']['processor']}; of the megabytes {found['base']:,} are python, torch and the data.\n\n"
        f"{memories.table(found['rows'], found['base'])}"
    )


def rings() -> str:
    """What benchmarks/ring.py measured, both ways side by side."""
    path = ROOT / "benchmarks" / "results" / "ring.json"
    if not path.is_file():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        f"`benchmarks/ring.py`: NT-Xent of embeddings of width {found['settings']['dim']} in a training step whose "
        f"encoder does nothing, {found['machine']['cores']} cores of {found['machine']['processor']}, torch "
        f"{found['versions']['torch']}; processor time and memory of the process with most, beside its own embeddings.",
        "",
        "| processes | pairs of all | gathered | ring | ring's time |",
        "|---" * 5 + "|",
    ]
    ways = {way: [one for one in found["results"] if one["gather"] == way] for way in ("all", "ring")}
    for every, ring in zip(ways["all"], ways["ring"], strict=True):
        shown = [f"{one['processor_seconds']:.1f} s, {one['extra_mb']:,.0f} MB" for one in (every, ring)]
        lines.append(
            f"| {ring['processes']} | {ring['pairs']:,} | {shown[0]} | {shown[1]} "
            f"| {ring['processor_seconds_times_all']:.2f} times |"
        )
    return "\n".join(lines)


def alarms() -> str:
    """What benchmarks/alarms.py measured on the seeds that no threshold was set on."""
    found = json.loads((ROOT / "benchmarks" / "results" / "alarms.json").read_text(encoding="utf-8"))
    seeds = ", ".join(str(seed) for seed in sorted({run["seed"] for run in found["runs"]} & set(found["groups"]["B"])))
    steps = found["settings"]["steps"]
    return f"Runs of {steps} steps, seeds {seeds} (`alarms`):\n\n{broken.table(found['runs'], 'B')}"


MAKE = {
    "settings": settings,
    "tables": figures,
    "margins": margins,
    "memory": memory,
    "rings": rings,
    "alarms": alarms,
}


def rendered(page: str) -> str:
    """The page with its computed parts made anew."""
    for mark, make in MAKE.items():
        if f"<!-- {mark} -->" in page:
            head, rest = page.split(f"<!-- {mark} -->\n", 1)
            page = f"{head}<!-- {mark} -->\n{make()}\n<!-- /{mark} -->{rest.split(f'<!-- /{mark} -->', 1)[1]}"
    return page


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(rendered(path.read_text(encoding="utf-8")), encoding="utf-8")
