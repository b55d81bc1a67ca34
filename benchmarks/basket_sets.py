"""The sets of the basket, made out of archives: small pictures in class folders, with parts `train` and `test`.

    python benchmarks/basket_sets.py ARCHIVES data/basket            # ARCHIVES: the folder that holds them

Pictures are kept at 64 px of their short side, CIFAR's at 32. `hues_tell` has every photo in three hues, and the hue is
the class; in `hues_are_noise` every flower has a hue drawn at random, and the class is the flower's.
"""

import argparse
import csv
import io
import json
import shutil
import tarfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

SIDE = 64
PARTS = ("train", "test")
_SIDES = ("xmin", "ymin", "xmax", "ymax")
CIFAR = {"train": 500, "test": 200}  # pictures of each class
Pictures = Iterator[tuple[str, str, str, Image.Image]]
"""Part, class, name, picture."""


def read(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The files of an archive."""
    with tarfile.open(archive) as opened:
        for member in opened:
            file = opened.extractfile(member) if member.isfile() else None
            if file is not None:
                yield PurePosixPath(member.name), file.read()


def folders(archive: str, *under: str) -> Callable[[Path], Pictures]:
    """Pictures that lie in folders `under`/part/class of an archive."""

    def found(place: Path) -> Pictures:
        for path, content in read(place / archive):
            part = path.parts[1 + len(under) :]
            if path.parts[1 : 1 + len(under)] == under and len(part) == 3 and path.suffix == ".jpg":
                yield part[0], part[1], path.stem, Image.open(io.BytesIO(content)).convert("RGB")

    return found


def cifar(place: Path) -> Pictures:
    """The first pictures of each class."""
    for part, most in CIFAR.items():
        met: Counter[str] = Counter()
        for image in pq.read_table(place / f"cifar10-{part}.parquet", columns=["image"])["image"].to_pylist():
            path = PurePosixPath(image["path"])
            met[path.parent.name] += 1
            if met[path.parent.name] <= most:
                yield part, path.parent.name, path.stem, Image.open(io.BytesIO(image["bytes"])).convert("RGB")


def animals(place: Path) -> Pictures:
    """What stands in the boxes; the validation part belongs to the test part, which is small."""
    files = dict(read(place / "animals_boxes.tar"))
    root = PurePosixPath("animals_boxes")
    for split, part in {"train": "train", "val": "test", "test": "test"}.items():
        for name in files[root / "splits" / f"{split}.txt"].decode().split():
            stem = PurePosixPath(name).stem
            picture = Image.open(io.BytesIO(files[root / "images" / f"{stem}.jpg"])).convert("RGB")
            for i, one in enumerate(ElementTree.fromstring(files[root / "annotations" / f"{stem}.xml"]).iter("object")):
                left, top, right, bottom = (float(one.findtext(f"bndbox/{side}", "0")) for side in _SIDES)
                yield part, one.findtext("name", ""), f"{stem}-{i}", picture.crop((left, top, right, bottom))


def turned(picture: Image.Image, share: float) -> Image.Image:
    """The picture with its hue shifted by a share of a turn."""
    hsv = np.array(picture.convert("HSV"))
    hsv[..., 0] = (hsv[..., 0].astype(int) + round(256 * share)) % 256
    return Image.fromarray(hsv, "HSV").convert("RGB")


def hues_tell(place: Path) -> Pictures:
    """Every photo in three hues."""
    for part, kind, name, picture in folders("pacs_photo_sketch.tar", "photo")(place):
        for third in range(3):
            yield part, f"hue-{third}", f"{kind}-{name}", turned(picture, third / 3)


def hues_are_noise(place: Path) -> Pictures:
    """Every flower in a hue of its own."""
    random = np.random.default_rng(0)
    for part, kind, name, picture in folders("flowers30.tar")(place):
        yield part, kind, name, turned(picture, random.random())


SETS: dict[str, Callable[[Path], Pictures]] = {
    "cifar": cifar,
    "flowers": folders("flowers30.tar"),
    "signs": folders("sign_digits.tar"),
    "photo": folders("pacs_photo_sketch.tar", "photo"),
    "sketch": folders("pacs_photo_sketch.tar", "sketch"),
    "animals": animals,
    "hues_tell": hues_tell,
    "hues_are_noise": hues_are_noise,
}


def write(name: str, archives: Path, out: Path) -> dict[str, int]:
    """Write one set; returns how many pictures each part has."""
    counts: Counter[str] = Counter()
    for part, kind, stem, picture in SETS[name](archives):
        side = min(picture.size)
        if side > SIDE:
            picture = picture.resize([round(length * SIDE / side) for length in picture.size], Image.Resampling.BOX)
        target = out / name / part / kind / f"{stem}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target)
        counts[part] += 1
    return dict(counts)


def write_adult(archives: Path, out: Path) -> dict[str, int]:
    """Write the table, whose class stands in the column `income`, as `label`."""
    (out / "adult").mkdir(parents=True, exist_ok=True)
    counts = {}
    for path, content in read(archives / "adult.tar.gz"):
        if path.stem in PARTS:
            rows = list(csv.reader(io.StringIO(content.decode())))
            rows[0] = ["label" if name == "income" else name for name in rows[0]]
            with (out / "adult" / f"{path.stem}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(rows)
            counts[path.stem] = len(rows) - 1
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archives", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    for name in [*SETS, "adult"]:
        if (given.out / name).exists():
            shutil.rmtree(given.out / name)
        found = write_adult(given.archives, given.out) if name == "adult" else write(name, given.archives, given.out)
        print(name, json.dumps(found), flush=True)
