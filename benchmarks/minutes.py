"""Accuracy after so many minutes: automatic settings, beside the untrained encoder and lightly's SimCLR as documented.

    python benchmarks/minutes.py run data/basket/flowers data/basket/cifar --budgets 1m 2m 5m 10m 20m -- --threads 1
    python benchmarks/minutes.py lightly data/basket/flowers --budgets 5m --threads 1     # where lightly is installed
    python benchmarks/minutes.py picture                    # docs/minutes.svg, from what has been measured

DATA has parts `train` and `test` of class folders. Each run is the command `nearfar train DATA --budget B`, all else
automatic but for what stands after `--`, judged by its own evaluation on the test part: accuracies in percent with all
labels, kNN (k = 20) and linear. lightly trains torchvision's ResNet-18 on the same folder for the same time, in the
loop, with the views and the optimiser of its documented SimCLR example, with bf16 where the processor has units for it,
and is judged by the same kNN and probe. Writes benchmarks/results/minutes.json after each run: what is
there already is not run again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from html import escape
from pathlib import Path
from typing import Any

import torch
from machine import RESULTS, facts, read, split, write
from methods import ROWS, accuracies
from torch import Tensor, nn

from nearfar.config import seconds
from nearfar.evaluation import fit_linear, nearest
from nearfar.evaluation.knn import vote

PICTURE = Path(__file__).parents[1] / "docs" / "minutes.svg"
AUTOMATIC, LIGHTLY = "automatic", "lightly, SimCLR as documented"


def ours(data: Path, budget: str, seed: int, more: list[str]) -> dict[str, Any]:
    """A run of `nearfar train` with a budget: accuracies of its systems, and how many steps it made."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "nearfar", "train", str(data), "--budget", budget, "--seed", str(seed)]
        subprocess.run([*command, "--out", str(run), "--quiet", *more], check=True, stdout=subprocess.DEVNULL)
        evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
        last = json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return {
        "accuracy": {name: accuracies(evaluation, name) for name in evaluation["systems"]},
        "steps": last["step"],
        "seconds": last["seconds"],
    }


def lightly(data: Path, budget: str, seed: int, size: int) -> dict[str, Any]:
    """lightly's SimCLR for the same time; accuracies of the encoder before and after."""
    from lightly.data import LightlyDataset
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    from torchvision.models import resnet18

    began = time.monotonic()
    torch.manual_seed(seed)
    network = resnet18()
    network.fc = nn.Identity()
    head = SimCLRProjectionHead(512, 512, 128)
    loader = torch.utils.data.DataLoader(
        LightlyDataset(str(data / "train"), transform=SimCLRTransform(input_size=size, gaussian_blur=0.0)),
        batch_size=256,
        shuffle=True,
        drop_last=True,
        num_workers=torch.get_num_threads(),
        persistent_workers=True,
    )
    optimizer = torch.optim.SGD([*network.parameters(), *head.parameters()], lr=0.06)
    loss_of, steps = NTXentLoss(), 0
    fast = torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()
    network.to(memory_format=torch.channels_last).train()
    while time.monotonic() - began < seconds(budget):
        for (first, second), *_ in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                one, two = (head(network(view.to(memory_format=torch.channels_last))) for view in (first, second))
            optimizer.zero_grad()
            loss_of(one.float(), two.float()).backward()
            optimizer.step()
            steps += 1
            if time.monotonic() - began >= seconds(budget):
                break
    found = judged(network.eval(), data, size)
    return {"accuracy": {LIGHTLY: found}, "steps": steps, "seconds": None}


@torch.no_grad()
def judged(network: nn.Module, data: Path, size: int) -> dict[str, float]:
    """Accuracies in percent on the test part of a network of pictures, normalised as lightly's views are."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    plain = v2.Compose([
        v2.ToImage(), v2.Resize((size, size)), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip

    def vectors(part: str) -> tuple[Tensor, Tensor]:
        loader = torch.utils.data.DataLoader(ImageFolder(str(data / part), plain), batch_size=256)
        made = [(network(pictures), labels) for pictures, labels in loader]
        return torch.cat([one for one, _ in made]), torch.cat([one for _, one in made])

    (known, labels), (asked, truth) = vectors("train"), vectors("test")
    classes = int(labels.max()) + 1
    similarities, at = nearest(known, asked, 20)
    probe = fit_linear(known, labels, classes=classes)
    right = {"kNN": vote(similarities, labels[at], classes=classes) == truth, "linear": probe.predict(asked) == truth}
    return {name: round(100 * float(value.float().mean()), 2) for name, value in right.items()}


def lines(runs: list[dict[str, Any]], name: str, row: str) -> dict[str, list[tuple[float, float]]]:
    """Of one set, minutes and percent of each system; the mean where there are several seeds."""
    found: dict[str, dict[float, list[float]]] = {}
    for run in runs:
        if run["set"] != name:
            continue
        minutes = seconds(run["budget"]) / 60
        for system, of in run["accuracy"].items():
            kind = {"untrained encoder": "untrained", "trained encoder": AUTOMATIC}.get(system, system)
            if kind != "raw input" and row in of:
                found.setdefault(kind, {}).setdefault(minutes, []).append(of[row])
    return {kind: sorted((m, sum(all) / len(all)) for m, all in of.items()) for kind, of in found.items()}


def table(runs: list[dict[str, Any]]) -> str:
    """The same in Markdown: kNN / linear of each system after so many minutes."""
    minutes = sorted({seconds(run["budget"]) / 60 for run in runs})
    shown = [f"{m:g} minute{'s' * (m != 1)}" for m in minutes]
    rows = [f"| set | system | {' | '.join(shown)} |", "|---" * (2 + len(minutes)) + "|"]
    for name in dict.fromkeys(run["set"] for run in runs):
        of = {row: lines(runs, name, row) for row in ROWS}
        for kind in next(iter(of.values())):
            found = [{m: v for m, v in of[row].get(kind, [])} for row in ROWS]
            cells = [" / ".join(f"{one[m]:.1f}" for one in found if m in one) for m in minutes]
            rows.append(f"| {name} | {kind} | {' | '.join(cells)} |")
    return "\n".join(rows)


def picture(runs: list[dict[str, Any]]) -> str:
    """The curves as an SVG: a panel for each set, accuracy of kNN and of a linear probe over minutes."""
    sets = list(dict.fromkeys(run["set"] for run in runs))
    wide, high, left, top = 360, 240, 46, 34
    styles = {AUTOMATIC: ("#0072b2", ""), "untrained": ("#777777", "2 3"), LIGHTLY: ("#d55e00", "")}
    minutes = sorted({seconds(run["budget"]) / 60 for run in runs})

    def x(value: float, panel: int) -> float:
        share = minutes.index(value) / max(1, len(minutes) - 1)
        return panel * wide + left + share * (wide - left - 24)

    parts = []
    for panel, name in enumerate(sets):
        curves = {row: lines(runs, name, row) for row in ROWS}
        values = [v for of in curves.values() for points in of.values() for _, v in points]
        low, top_value = 10 * (min(values) // 10), 10 * -(-max(values) // 10)

        def y(value: float, low: float = low, top_value: float = top_value) -> float:
            return top + (high - 2 * top) * (1 - (value - low) / (top_value - low))

        parts.append(f'<text x="{panel * wide + left}" y="16" font-weight="bold">{escape(name)}</text>')
        for value in range(int(low), int(top_value) + 1, 10):
            parts.append(
                f'<path d="M{panel * wide + left} {y(value):.1f}H{(panel + 1) * wide - 24}" stroke="#999" '
                f'stroke-opacity=".35"/><text x="{panel * wide + left - 6}" y="{y(value) + 4:.1f}" '
                f'text-anchor="end">{value}</text>'
            )
        parts += [
            f'<text x="{x(m, panel):.1f}" y="{high - top + 18}" text-anchor="middle">{m:g}</text>' for m in minutes
        ]
        for row, of in curves.items():
            for kind, points in of.items():
                colour, dashes = styles[kind]
                dashes = dashes or ("" if row == "linear" else "7 4")
                at = [(x(m, panel), y(v)) for m, v in points]
                way = "L".join(f"{a:.1f} {b:.1f}" for a, b in at)
                parts.append(
                    f'<path d="M{way}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
                )
                for (a, b), (m, v) in zip(at, points, strict=True):
                    mark = f"<title>{escape(f'{kind}, {row}, {m:g} minutes: {v:.1f} %')}</title>"
                    parts.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}">{mark}</circle>')
    for i, (kind, (colour, dashes)) in enumerate(styles.items()):
        if any(kind in lines(runs, name, row) for name in sets for row in ROWS):
            at = left + 150 * i
            parts.append(
                f'<path d="M{at} {high + 14}h24" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
                f'<text x="{at + 30}" y="{high + 18}">{escape(kind)}</text>'
            )
    parts.append(
        f'<text x="{left}" y="{high + 38}">percent right on the test part over minutes of training; '
        "solid: linear probe, dashed: kNN</text>"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {max(2, len(sets)) * wide} {high + 48}" role="img" '
        f'font-family="sans-serif" font-size="12"><title>Accuracy over minutes</title>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def main() -> None:
    """Make the runs that are not there yet, or the picture."""
    own, more = split(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "lightly", "picture"))
    parser.add_argument("data", nargs="*", type=Path)
    parser.add_argument("--budgets", nargs="+", default=["1m", "2m", "5m", "10m", "20m"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="of lightly")
    parser.add_argument("--size", type=int, default=64, help="of lightly's pictures")
    given = parser.parse_args(own)
    if given.what == "picture":
        PICTURE.write_text(picture(read("minutes")["runs"]), encoding="utf-8")
        print(PICTURE)
        return
    if given.threads:
        torch.set_num_threads(given.threads)
    for budget in given.budgets:
        for data in given.data:
            about = {"what": given.what, "set": data.name, "budget": budget, "seed": given.seed, "options": more}
            runs = read("minutes")["runs"] if (RESULTS / "minutes.json").is_file() else []
            if any(run.items() >= about.items() for run in runs):
                continue
            if given.what == "run":
                found = ours(data, budget, given.seed, more)
            else:
                found = lightly(data, budget, given.seed, given.size)
            print(data.name, budget, found, flush=True)
            runs = read("minutes")["runs"] if (RESULTS / "minutes.json").is_file() else []
            write("minutes", {**facts(), "runs": [*runs, {**about, **found}]})


if __name__ == "__main__":
    main()
