"""Writes the tables of docs/methods.md that are computed: settings from the code, figures from benchmarks/results.

python docs/tables.py      # after a change of either; a test holds the page to them
"""

import json
import re
import sys
from pathlib import Path

from torch import Tensor

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "methods.md"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
RESULTS = {
    "cifar5k": "5,000 pictures of CIFAR-10, judged on 2,000 others",
    "flowers30": "flowers30: 1,200 photographs of 30 kinds of flower at 64 px, judged on 449 others",
}

sys.path[:0] = [str(ROOT / "benchmarks")]
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


def rendered(page: str) -> str:
    """The page with its computed parts made anew."""
    for mark, text in (("settings", settings()), ("tables", figures())):
        page = re.sub(
            rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", lambda m, t=text: m[1] + t + "\n" + m[2], page, flags=re.S
        )
    return page


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
