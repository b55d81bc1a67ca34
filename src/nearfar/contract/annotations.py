"""What data says of places in a sample, such as a class for each of them, or boxes around things."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar import randomness
from nearfar.contract.reading import Rows, Skipped

VOID = 255
"""In masks, what is of no class: it is neither learnt from nor judged."""
INPUTS = "inputs"
"""The name under which views that hold annotations have the samples themselves."""
_SHARE = 0.2
"""Of the annotated samples, which judge where the data itself does not say which do."""
_JUDGES = ("test", "val")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Annotations that data is opened with: their `kind` (`masks`, `boxes`), and where they lie.

    Without a `place` they are looked for beside the samples. `ignored` is the value of what is of no class in masks.
    """

    kind: str
    place: str | None = None
    ignored: int = 255


@dataclass(frozen=True)
class Boxes:
    """Boxes around the n things in a sample of `size` (height and width).

    `corners` [n, 4] are left, top, right and bottom in units of the size, `labels` [n] numbers of classes. Those of a
    `crowd` [n] are neither learnt from nor counted.
    """

    corners: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    size: tuple[int, int]


@dataclass
class Annotations(ABC):
    """The annotations of the N samples that were opened.

    `known` [N] says which have one. `parts` [N] are the names of the parts that the annotations themselves put samples
    into, None where they say nothing. `skipped` lists what of them cannot be used, and why. `codes` [K] are what files
    have in the place of the classes, by default 1 to K.
    """

    kind: str
    classes: Sequence[str]
    known: NDArray[np.bool_]
    parts: NDArray[np.str_] | None = None
    skipped: list[Skipped] = field(default_factory=list)
    codes: Sequence[int] = ()

    @abstractmethod
    def read(self, place: int) -> Any:
        """The annotation of the sample at `place` as it was given; raises Unreadable."""

    @abstractmethod
    def batch(self, places: Rows, aspects: Sequence[float], size: int) -> tuple[Mapping[str, Any], Rows]:
        """The annotations of some samples as tensors `[b, ...]` by name: the `marks` of a raw batch.

        Samples are squares of `size` cells a side, and `aspects` what was the width over height of each: an annotation
        of another shape is an error. The second value says which of `places` are in it: the others are unreadable, and
        are listed.
        """

    def remarks(self) -> list[str]:
        """What else there is to know of those that were read so far."""
        return []

    def divide(self, places: Rows, seed: int) -> tuple[Rows, Rows]:
        """Rows of the samples at `places` to learn from and to judge by: by `parts`, else a fifth judges.

        Samples without an annotation are learnt from.
        """
        rows = np.arange(len(places), dtype=np.int64)
        known = self.known[places]
        if self.parts is not None:
            of = self.parts[places]
            judge = next((name for name in _JUDGES if bool(((of == name) & known).any())), None)
            if judge is not None and bool(((of == "train") & known).any()):
                return rows[~np.isin(of, _JUDGES)], rows[(of == judge) & known]
        order = np.argsort(randomness.uniform(seed, "judged annotations", places[known], 1)[:, 0], kind="stable")
        chosen = np.sort(rows[known][order[: round(_SHARE * int(known.sum()))]])
        return np.setdiff1d(rows, chosen), chosen


def palette(count: int = 256) -> NDArray[np.uint8]:
    """Colours `[count, 3]` of class numbers, neighbours far apart: the palette of Pascal VOC (Everingham et al.)."""
    colours = np.zeros((count, 3), dtype=np.uint8)
    for number in range(count):
        rest = number + 1  # class 0 is no background here
        for bit in range(7, -1, -1):
            for channel in range(3):
                colours[number, channel] |= ((rest >> channel) & 1) << bit
            rest >>= 3
    return colours
