"""Embedding a folder of jpgs with a ResNet-18, the command's start included, beside other ways to do it.

    python benchmarks/embed.py data/train10k
    python benchmarks/embed.py data/train10k --rounds 1 --only nearfar loop

`nearfar` is `nearfar embed` as a command of its own, with a run folder that one step of training left; `loop` is what
one writes by hand: torchvision's ResNet-18, ImageFolder, a DataLoader of two workers and batches of 256 under bf16
autocast in channels_last, as a process of its own; `lightly-train` is that package's own command, where it is
installed. All three have the same network (a stem of stride 4, width 64) at 32 pixels and decode every jpg.
`encoder` is the forward rate of nearfar's encoder on a batch that is there. Each round runs every contender once.
Writes benchmarks/results/embed.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from machine import facts, write

SIZE = 32

LOOP = """
import sys, torch, torchvision
from torchvision.transforms import v2
from torchvision.datasets import ImageFolder
from torch.utils.data import DataLoader
size = int(sys.argv[2])
steps = [v2.ToImage(), v2.Resize(size), v2.CenterCrop(size), v2.ToDtype(torch.float32, scale=True),
         v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
network = torchvision.models.resnet18()
network.fc = torch.nn.Identity()
network = network.eval().to(memory_format=torch.channels_last)
found = []
with torch.no_grad():
    for pictures, _ in DataLoader(ImageFolder(sys.argv[1], v2.Compose(steps)), batch_size=256, num_workers=2):
        with torch.autocast("cpu", torch.bfloat16, enabled=sys.argv[4] == "bf16"):
            found.append(network(pictures.to(memory_format=torch.channels_last)).float())
torch.save(torch.cat(found), sys.argv[3])
"""

LIGHTLY = """
import sys, lightly_train
data, out, size, checkpoint = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
if checkpoint == "make":
    lightly_train.pretrain(out=out, data=data, model="torchvision/resnet18", method="simclr", epochs=1, batch_size=64,
                           num_workers=2, transform_args={"image_size": (size, size)}, overwrite=True)
else:
    lightly_train.embed(out=out, data=data, checkpoint=checkpoint, format="torch", image_size=(size, size),
                        batch_size=256, num_workers=2, overwrite=True)
"""


def small_part(data: Path, folder: Path, count: int) -> Path:
    """A folder with the first pictures of `data`, for what must be trained before it can embed."""
    folder.mkdir()
    for number, path in enumerate(sorted(data.rglob("*.jpg"))[:count]):
        (folder / f"{number}.jpg").write_bytes(path.read_bytes())
    return folder


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)[:200]} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def encoder_alone(run: Path) -> tuple[float, str]:
    """Images a second of the encoder on a batch that is there, and the precision that it measures best in."""
    import numpy as np
    import torch

    import nearfar as nf
    from nearfar.training.precision import choose_for_inference, dtype_of

    encoder = nf.load(run)
    inputs = encoder.preprocess([np.zeros((SIZE, SIZE, 3), dtype=np.uint8)] * 256)
    with torch.no_grad():
        precision = choose_for_inference(encoder.features, inputs)
        dtype = dtype_of(precision)
        best = float("inf")
        for _ in range(10):
            start = time.perf_counter()
            with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
                encoder.features(inputs)
            best = min(best, time.perf_counter() - start)
    return len(inputs) / best, precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=["nearfar", "loop", "lightly-train"])
    parser.add_argument("--name", default="embed", help="benchmarks/results/NAME.json")
    given = parser.parse_args()
    count = sum(1 for _ in given.data.rglob("*.jpg"))
    contenders = [name for name in given.only if name != "lightly-train" or find_spec("lightly_train")]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        some = small_part(given.data, folder / "some", 128)
        nearfar = [sys.executable, "-m", "nearfar"]
        train = [*nearfar, "train", str(some), "--encoder", "resnet18", "--stem", "imagenet", "--image-size", str(SIZE)]
        seconds([*train, "--steps", "1", "--batch-size", "64", "--knn-every", "0", "--out", str(folder / "run")])
        alone, precision = encoder_alone(folder / "run")
        commands = {
            "nearfar": [*nearfar, "embed", str(folder / "run"), str(given.data), "-o", str(folder / "e.parquet")],
            "loop": [sys.executable, "-c", LOOP, str(given.data), str(SIZE), str(folder / "loop.pt"), precision],
        }
        if "lightly-train" in contenders:
            lightly = [sys.executable, "-c", LIGHTLY]
            seconds([*lightly, str(some), str(folder / "lightly"), str(SIZE), "make"])
            checkpoint = folder / "lightly" / "checkpoints" / "last.ckpt"
            commands["lightly-train"] = [*lightly, str(given.data), str(folder / "l.pt"), str(SIZE), str(checkpoint)]
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(given.rounds):
            for name in contenders:
                taken[name].append(seconds(commands[name]))
    lines = []
    for name, each in taken.items():
        line = {"contender": name, "images_per_second": round(count / statistics.median(each))}
        line["seconds_each"] = [round(one, 2) for one in each]
        if name != "nearfar" and "nearfar" in taken:
            ratios = [other / own for other, own in zip(each, taken["nearfar"], strict=True)]
            line["times_nearfar"] = round(statistics.median(ratios), 2)
        lines.append(line)
        print(json.dumps(line), flush=True)
    what = "embedding jpgs with a ResNet-18, start included"
    settings = {"images": count, "size": SIZE, "rounds": given.rounds, "precision": precision}
    found = {"what": what, **facts(), "settings": settings, "encoder_images_per_second": round(alone), "results": lines}
    print(write(given.name, found))


if __name__ == "__main__":
    main()
