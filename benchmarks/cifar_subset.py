"""Write a class folder of jpgs out of a parquet file in the Hugging Face layout.

    python benchmarks/cifar_subset.py cifar10-train.parquet data/train5k --first 500
    python benchmarks/cifar_subset.py cifar10-test.parquet data/test2k --first 200

Takes images `skip` to `skip + first` of each class, in the file's order; the folder names are the classes'.
"""

import argparse
from collections import Counter
from pathlib import Path, PurePosixPath

import pyarrow.parquet as pq


def write(file: Path, out: Path, first: int, skip: int) -> int:
    """Write the images of `file` under `out`; returns how many."""
    met: Counter[str] = Counter()
    written = 0
    for image in pq.read_table(file, columns=["image"])["image"].to_pylist():
        path = PurePosixPath(image["path"])
        label = path.parent.name
        met[label] += 1
        if skip < met[label] <= skip + first:
            target = out / label / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(image["bytes"])
            written += 1
    return written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", type=int, required=True, help="images of each class")
    parser.add_argument("--skip", type=int, default=0, help="images of each class to leave out before them")
    given = parser.parse_args()
    print(f"{write(given.file, given.out, given.first, given.skip)} images in {given.out}")
