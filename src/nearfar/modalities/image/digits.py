"""The built-in data: scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, which need no network.

Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearfar.data.contents import Cells
from nearfar.data.reader import Samples
from nearfar.data.splits import pick
from nearfar.data.strings import Strings

SPLITS = ["test", "train"]


def digits(split: str | None = None) -> Samples:
    """All digits, or `train` (80 %) or `test` (20 %): of each class, in the file's order, every fifth is for testing.

    Keys are `digits/0000` onwards. Raises DataError for another split.
    """
    images, labels = _read()
    pixels = np.rint(images * (255 / 16)).astype(np.uint8)  # stored as 0 to 16
    nth = np.zeros(len(labels), dtype=np.int64)
    for label in range(10):
        rows = np.flatnonzero(labels == label)
        nth[rows] = np.arange(len(rows))
    whole = Samples(
        name="digits",
        keys=Strings.of(f"digits/{row:04d}" for row in range(len(labels))),
        # A portable grey map is its header and the bytes: the digits take the same way as all other pictures.
        contents=Cells([b"P5 8 8 255\n" + picture.tobytes() for picture in pixels]),
        rows=np.arange(len(labels)),
        labels=labels,
        label_names=tuple("0123456789"),
    )
    chosen = pick("digits", SPLITS, split or "all")
    if chosen is None:
        return whole
    part = whole.take(np.flatnonzero((nth % 5 == 4) == (chosen == "test")))
    return replace(part, name=f"digits:{chosen}", split=chosen)


def _read() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    # The file is read without importing scikit-learn, which takes a second or more.
    package = importlib.util.find_spec("sklearn")
    places = [] if package is None else package.submodule_search_locations or []
    for file in (Path(place, "datasets", "data", "digits.csv.gz") for place in places):
        if file.is_file():
            table = np.loadtxt(file, delimiter=",")
            return table[:, :-1], table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return images, labels.astype(np.int64)
