"""Writes the tables that are computed: settings from the code, figures from benchmarks/results.

python docs/tables.py      # after a change of either; a test holds the pages to them
"""

import sys
from pathlib import Path

from torch import Tensor

ROOT = Path(__file__).parents[1]
PAGES = (
    *(
        ROOT / "docs" / f"{page}.md"
        for page in (
            "automatic",
            "methods",
            "scaling",
            "health",
            "views",
            "evaluation",
            "pretrained",
            "tabular",
            "audio",
            "audit",
            "explain",
            "adaptation",
            "finetune",
            "fine-grained",
            "pairs",
            "detection",
            "segmentation",
        )
    ),
    ROOT / "benchmarks" / "README.md",
)
SIZES = (1_000, 10_000, 100_000, 1_000_000)
TITLES = {
    "cifar5k": "5,000 pictures of CIFAR-10, judged on 2,000 others",
    "flowers30": "flowers30: 1,200 photographs of 30 kinds of flower at 64 px, judged on 449 others",
}

sys.path[:0] = [str(ROOT / "benchmarks")]
import adapt  # noqa: E402
import alarms as broken  # noqa: E402
import audio as sounds  # noqa: E402
import audit  # noqa: E402
import dense  # noqa: E402
import explain  # noqa: E402
import finetune  # noqa: E402
import memory as memories  # noqa: E402
import minutes  # noqa: E402
import pairs as emoji  # noqa: E402
import recipes as recipe  # noqa: E402
import verdicts  # noqa: E402
import weights as published  # noqa: E402
from basket import GRID, leads, report  # noqa: E402
from machine import RESULTS, read  # noqa: E402
from methods import table  # noqa: E402
from tables import table as table_of_areas  # noqa: E402

from nearfar.contract import Encoder  # noqa: E402
from nearfar.methods.registry import METHODS, load  # noqa: E402
from nearfar.options import Facts  # noqa: E402


class Empty(Encoder):
    """An encoder of 512 dimensions that has nothing else."""

    dim = 512

    def features(self, inputs: Tensor) -> Tensor:
        """Never called."""
        raise NotImplementedError


def settings() -> str:
    """What each method chooses for data of several sizes."""
    lines = ["| method | option | " + " | ".join(f"{size:,}" for size in SIZES) + " | rate |", "|---" * 7 + "|"]
    for name in [one for one in METHODS if load(one).requires.annotations is None]:
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
    for name, title in TITLES.items():
        found = read(f"methods-{name}")
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
    found = read("margins")
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
    found = read("memory-resnet18w16")
    return (
        f"`benchmarks/memory.py`: {' '.join(found['options'])}, {found['machine']['threads']} threads of "
        f"{found['machine']['processor']}; of the megabytes {found['base']:,} are python, torch and the data.\n\n"
        f"{memories.table(found['rows'], found['base'])}"
    )


def rings() -> str:
    """What benchmarks/ring.py measured, both ways side by side."""
    found = read("ring")
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
    found = read("alarms")
    seeds = ", ".join(str(seed) for seed in sorted({run["seed"] for run in found["runs"]} & set(found["groups"]["B"])))
    steps = found["settings"]["steps"]
    return f"Runs of {steps} steps, seeds {seeds} (`alarms`):\n\n{broken.table(found['runs'], 'B')}"


def judged() -> str:
    """What benchmarks/verdicts.py measured."""
    found = read("verdicts")
    return f"{verdicts.table(found['runs'])}"


def weights() -> str:
    """What benchmarks/weights.py measured."""
    found = read("weights")
    return (
        f"`benchmarks/weights.py`, {found['machine']['threads']} thread of {found['machine']['processor']}, on test "
        f"parts; accuracies in percent with all labels, means over seeds with 95 % intervals:\n\n"
        f"{published.table(found['runs'])}"
    )


def hue() -> str:
    """How far our hue is from torchvision's, as benchmarks/views.py measured it."""
    lines = ["| size | shift | apart | moved |", "|---" * 4 + "|"]
    for size, found in read("views")["sizes"].items():
        for shift, of in found["hue"].items():
            lines.append(f"| {size} px | {shift} | {of['apart']:.3f} | {of['moved']:.3f} |")
    return "\n".join(lines)


def recipes() -> str:
    """What benchmarks/recipes.py measured."""
    found = read("recipes-cifarval")
    seeds = len({run["seed"] for run in found["runs"]})
    return (
        f"`benchmarks/recipes.py`: 5,000 pictures of the CIFAR-10 training file, judged on 2,000 others of it; "
        f"{' '.join(found['settings']['options'])}, {found['settings']['steps']} steps, {seeds} seeds. Percent; "
        f"differences seed by seed, with 95 % intervals.\n\n{recipe.table(found['runs'])}"
    )


def views() -> str:
    """What benchmarks/views.py measured."""
    found = read("views")
    first = next(iter(found["sizes"].values()))["views_a_second"]
    lines = [
        f"Two views a picture, {found['machine']['threads']} threads of {found['machine']['processor']}, torch "
        f"{found['versions']['torch']} (`benchmarks/views.py`); views a second, and ours to each:",
        "",
        f"| | {' | '.join(f'{size} px' for size in found['sizes'])} |",
        "|---" * (1 + len(found["sizes"])) + "|",
    ]
    for name in first:
        rates = [of["views_a_second"] for of in found["sizes"].values()]
        shown = [f"{rate[name]:,.0f} ({rate['default'] / rate[name]:.1f} times)" for rate in rates]
        shown = [f"{rate[name]:,.0f}" for rate in rates] if name in ("default", "full") else shown
        lines.append(f"| {name if 'lightly' in name else f'nearfar, {name}'} | {' | '.join(shown)} |")
    return "\n".join(lines)


def waits() -> str:
    """What benchmarks/pretrain.py measured of the time in which encoders wait."""
    lines = [
        "| encoder | pixels | images/s | of the encoder's own rate | wait, first epoch | wait after it | machine |",
        "|---" * 7 + "|",
    ]
    for path in sorted(RESULTS.glob("pretrain-*.json")):
        found = read(path.stem)
        rates, config = found["rates"], found["config"]
        if "data_wait_first_epoch" not in rates:  # of an earlier form
            continue
        encoder = config["encoder"] + (f", width {config['width']}" if "width" in config else "")
        shares = [rates["loop_of_encoder"] and 100 * rates["loop_of_encoder"]]
        shares += [rates.get(key) for key in ("data_wait_first_epoch", "data_wait")]
        shown = ["" if share is None else f"{share:.1f} %" for share in shares]
        lines.append(
            f"| {encoder} | {config['image_size']} | {rates['loop']:,.0f} | {' | '.join(shown)} "
            f"| {found['machine']['threads']} threads of {found['machine']['processor']} |"
        )
    return "\n".join(lines)


def trials() -> str:
    """What benchmarks/basket.py measured of each recipe after few steps."""
    parts = []
    for samples in (1_000, 2_000, 4_000, 8_000):
        command = (
            f"`python benchmarks/basket.py data/basket --samples {samples} --image-size 32 --train-only "
            f"--name basket-{samples} -- --threads 1 --precision bf16`"
        )
        parts.append(f"{samples // 32} steps, {command}:\n\n{report(read(f'basket-{samples}')['runs'], 'train')}")
    return "\n\n".join(parts)


def basket() -> str:
    """What benchmarks/basket.py measured of automatic settings, on test parts."""
    command = (
        "`python benchmarks/basket.py data/basket --samples 30000 --image-size 32 --name basket-30k -- --threads 1 "
        "--precision bf16`"
    )
    runs = read("basket-30k")["runs"]
    seeds = {name: len({run["seed"] for run in runs if run["recipe"] == name}) for name in ("automatic", GRID[1])}
    return (
        f"30,000 samples, {command}; means, of `automatic` and `before` over {seeds['automatic']} seeds, of the grid "
        f"over {seeds[GRID[1]]}:\n\n{report(runs)}\n\nWhat `automatic` is ahead by, with 95 % intervals over seeds:\n\n"
        f"{leads(runs)}"
    )


def tried() -> str:
    """What benchmarks/basket.py measured of single settings."""
    files = {"as it is": "30k", "--variant decoupled": "decoupled", "--temperature 0.5": "temperature"}
    found = {name: read(f"basket-{file}")["runs"] for name, file in files.items()}
    sets = [(run["set"], run["recipe"]) for run in found["--variant decoupled"]]
    lines = ["| | " + " | ".join(name for name, _ in sets) + " |", "|---" * (1 + len(sets)) + "|"]
    for name, runs in found.items():
        cells = []
        for one in sets:
            of = next(run["train"] for run in runs if (run["set"], run["recipe"], run["seed"]) == (*one, 0))
            cells.append(f"{of['kNN']:.1f} / {of['linear']:.1f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def batches() -> str:
    """What benchmarks/basket.py measured of the size of a batch."""
    return report(read("basket-40000")["runs"], "train")


def areas() -> str:
    """What benchmarks/tables.py measured."""
    found = read("tables")
    seeds = len({run["seed"] for run in found["runs"] if run["method"] == "simclr"})
    of = "one seed" if seeds == 1 else f"mean of {seeds} seeds, with the least and the largest"
    return (
        f"`python benchmarks/tables.py adult/ --label-column income --steps {found['settings']['steps']}`: area under "
        f"the ROC curve on the test part of Adult, {of}; {found['settings']['draws']} draws of labels a seed.\n\n"
        f"{table_of_areas(found)}"
    )


def adaptation() -> str:
    """What benchmarks/adapt.py measured."""
    return adapt.table(read("adapt"))


def finetuning() -> str:
    """What benchmarks/finetune.py measured."""
    return finetune.table(read("finetune"))


def speakers() -> str:
    """What benchmarks/audio.py measured."""
    runs = read("audio")["runs"]
    seeds = len({run["seed"] for run in runs})
    return (
        f"`python benchmarks/audio.py data/fsdd --seeds {seeds}`, linear probe, {seeds} seeds:\n\n{sounds.table(runs)}"
    )


def planted() -> str:
    """What benchmarks/audit.py measured."""
    return audit.table()


def faithful() -> str:
    """What benchmarks/explain.py measured, of each kind of data."""
    head = [
        "| data, encoder, pairs | order | deletion | insertion | insertion less deletion | like shuffled weights |",
        "|---|---|---|---|---|---|",
    ]
    names = sorted(path.stem.removeprefix("explain-") for path in RESULTS.glob("explain-*.json"))
    return "\n".join([*head, *map(explain.markdown, names)])


MAKE = {
    "speakers": speakers,
    "planted": planted,
    "faithful": faithful,
    "adaptation": adaptation,
    "finetuning": finetuning,
    "batches": batches,
    "tabular": areas,
    "trials": trials,
    "basket": basket,
    "tried": tried,
    "pairs": lambda: emoji.table(read("pairs")),
    "boxes": lambda: dense.table("animals_boxes"),
    "masks": lambda: dense.table("camvid"),
    "minutes": lambda: minutes.table(read("minutes")["runs"]),
    "fine-grained": lambda: finetune.table_of_fine_grained(read("finetune")),
    "verdicts": judged,
    "weights": weights,
    "settings": settings,
    "tables": figures,
    "margins": margins,
    "memory": memory,
    "rings": rings,
    "alarms": alarms,
    "hue": hue,
    "recipes": recipes,
    "views": views,
    "waits": waits,
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
