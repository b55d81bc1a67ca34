"""Views a second at 32 and at 224 px, beside lightly's transform, which makes them one by one through PIL.

    python benchmarks/views.py photos/                  # a folder, a parquet file, whatever `nearfar train` takes
    python benchmarks/views.py photos/ --batch 64 --seconds 10

All contenders see the same `--pictures` of the data, as squares: at 32 px they are of 32 px, at 224 px of 256 px in
our memory and of 400 px for lightly (`decoded`: PIL images in its memory; `jpegs`: the same, encoded). Ours is a call
for both views of a batch, laid out as the encoder reads them; `default` has the automatic options of this size, `full`
all operations beside them. lightly is its SimCLRTransform with the strength, the smallest crop and the blur of our
default: in one process, and by a DataLoader of as many workers as there are threads, in batches of 32. Contenders take
turns, round by round; a figure is the median over rounds. `hue` is how far our rotation lies from torchvision's
`adjust_hue` on these pictures, beside how far that moves them: means of absolute differences, values in [0, 1].
Writes benchmarks/results/views.json.
"""

import argparse
import io
import statistics
import time
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import torch
from machine import facts, write
from PIL import Image
from torchvision.transforms.v2.functional import adjust_hue

from nearfar.contract import Requirements
from nearfar.modalities.image.modality import MODALITY
from nearfar.modalities.image.options import ImageOptions
from nearfar.modalities.image.views.colour import colour
from nearfar.modalities.opening import open_source
from nearfar.options import Facts

STORED, PEERS = {32: 32, 224: 256}, {32: 32, 224: 400}
PEER_BATCH = 32
FULL = {"rotate": 15.0, "flip_vertical": 0.5, "blur": 0.5, "solarise": 0.2, "cutout": 0.5, "mask": 0.5}


def squares(data, side, count):
    """So many pictures of the data, evenly spread, as uint8 [n, 3, side, side]."""
    source = open_source(MODALITY, data)
    source = source.take(np.linspace(0, len(source) - 1, min(len(source), count)).astype(np.int64))
    source = source.suited({"stored_size": side, "channels": 3})
    pictures, _ = source.fetch(np.arange(len(source)))
    return source, pictures.pixels


def ours(options, size, source, batch):
    """One call: two views of the next batch, fetched from memory; returns how many views that is."""
    config = {"encoder": "small_cnn", "channels": 3, "image_size": size, "mean": [0.5] * 3, "std": [0.25] * 3}
    encoder, step = MODALITY.restore(config), 0

    def call():
        nonlocal step
        draws = np.arange(step * batch, (step + 1) * batch)
        (raw, _), step = source.fetch(draws % len(source)), step + 1
        return sum(
            map(len, MODALITY.views(raw, draws, requires=Requirements(), seed=0, options=options, encoder=encoder))
        )

    return lambda seconds: rate(call, seconds)


class Peer(torch.utils.data.Dataset):
    """Both views of one picture, as lightly makes them from a PIL image or a jpeg."""

    def __init__(self, inputs, options, size, length):
        from lightly.transforms import SimCLRTransform

        self.inputs, self.length = inputs, length
        self.transform = SimCLRTransform(
            input_size=size,
            cj_strength=options.views_strength,
            min_scale=options.crop_scale,
            gaussian_blur=options.blur,
        )

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        given = self.inputs[i % len(self.inputs)]
        return self.transform(Image.open(io.BytesIO(given)).convert("RGB") if isinstance(given, bytes) else given)


def in_process(inputs, options, size):
    peer, at = Peer(inputs, options, size, 1), 0

    def call():
        nonlocal at
        at += 1
        return len(peer[at])

    return lambda seconds: rate(call, seconds)


def by_workers(inputs, options, size):
    """Its workers live while it is measured only: they would go on with batches ahead beside the others."""
    loader = torch.utils.data.DataLoader(
        Peer(inputs, options, size, 10**7), batch_size=PEER_BATCH, num_workers=torch.get_num_threads()
    )

    def measured(seconds):
        batches = iter(loader)
        return rate(lambda: sum(map(len, next(batches))), seconds, first=torch.get_num_threads())

    return measured


def rate(call, seconds, first=1):
    """Views a second over at least so many seconds, after the first calls."""
    for _ in range(first):
        call()
    start, made = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < seconds:
        made += call()
    return made / spent


def hue_distance(pixels):
    """For the largest shifts of strengths 0.5 and 1: ours to torchvision's, and torchvision's to no shift."""
    pictures = pixels[:256].float() / 255
    off = {"brightness": 0, "contrast": 0, "saturation": 0, "jitter": 1.0, "greyscale": 0}
    found = {}
    for most in (0.1, 0.2):
        apart, moved = [], []
        for shift in np.linspace(-most, most, 9):
            numbers = torch.full((len(pictures), 6), 0.5)
            numbers[:, 4] = 0.5 + shift / (2 * most)
            own, of_means = colour(numbers, 3, hue=most, **off)
            flat = pictures.flatten(2)
            turned = (own @ flat + of_means @ flat.mean(2, keepdim=True)).clamp(0, 1).view_as(pictures)
            theirs = adjust_hue(pictures, float(shift))
            apart.append((turned - theirs).abs().mean().item())
            moved.append((theirs - pictures).abs().mean().item())
        found[f"up to {most} of a turn"] = {"apart": round(np.mean(apart), 4), "moved": round(np.mean(moved), 4)}
    return found


def compare(size, arguments):
    source, pixels = squares(arguments.data, STORED[size], arguments.pictures)
    fact = Facts(samples=len(pixels), device="cpu", threads=torch.get_num_threads(), steps=1)
    options, _, _ = MODALITY.settle(ImageOptions(image_size=size), source, "small_cnn", fact)
    contenders = {
        "default": ours(options, size, source, arguments.batch),
        "full": ours(replace(options, **FULL), size, source, arguments.batch),
    }
    if find_spec("lightly"):
        _, larger = squares(arguments.data, PEERS[size], arguments.pictures)
        images = [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in larger]
        jpegs = []
        for image in images:
            image.save(file := io.BytesIO(), "JPEG", quality=90)
            jpegs.append(file.getvalue())
        for kind, inputs in (("decoded", images), ("jpegs", jpegs)):
            contenders[f"lightly, {kind}, one process"] = in_process(inputs, options, size)
            contenders[f"lightly, {kind}, workers"] = by_workers(inputs, options, size)
    rounds = {name: [] for name in contenders}
    for _ in range(arguments.rounds):
        for name, measured in contenders.items():
            rounds[name].append(measured(arguments.seconds))
    rates = {name: round(statistics.median(found), 1) for name, found in rounds.items()}
    for name, found in rates.items():
        print(f"{size:4} px  {name:32} {found:10,.1f} views/s  {rates['default'] / found:6.1f} of ours to it")
    return {
        "views_a_second": rates,
        "rounds": {name: [round(value, 1) for value in found] for name, found in rounds.items()},
        "options": {name: value for name, value in vars(options).items() if value is not None},
        "hue": hue_distance(pixels),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 224], choices=list(STORED))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each contender in each round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if not find_spec("lightly"):
        print("lightly is not installed: only our own figures")
    results = {str(size): compare(size, given) for size in given.sizes}
    settings = {name: value for name, value in vars(given).items() if name not in ("data", "sizes")}
    peers = {"lightly": version("lightly")} if find_spec("lightly") else {}
    print(write("views", {"sizes": results, "full": FULL, **settings, "peers": peers, **facts()}))
