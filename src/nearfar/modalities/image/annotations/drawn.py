"""Masks and boxes drawn over pictures."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from nearfar.contract.annotations import VOID, palette

_STRENGTH = 0.55


def over(picture: NDArray[np.uint8], marks: Mapping[str, NDArray[np.generic]]) -> NDArray[np.uint8]:
    """A picture `[c, h, w]` as `[3, h, w]`, with its `mask` `[h, w]` of any size, or its `boxes` and `labels`, over it.

    Boxes `[m, 4]` are left, top, right and bottom in pixels; labels `[m]` are class numbers, -1 for none.
    """
    grey = picture[:3] if len(picture) >= 3 else picture[:1].repeat(3, 0)
    drawn = np.ascontiguousarray(grey.transpose(1, 2, 0))
    colours = palette()
    if "mask" in marks:
        mask = marks["mask"].astype(np.uint8)
        if mask.shape != drawn.shape[:2]:
            size = drawn.shape[1], drawn.shape[0]
            mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
        mixed = ((1 - _STRENGTH) * drawn + _STRENGTH * colours[mask]).astype(np.uint8)
        drawn[mask != VOID] = mixed[mask != VOID]
        drawn[mask == VOID] //= 3
    if "boxes" in marks:
        thick = max(1, round(max(drawn.shape[:2]) / 120))
        for (left, top, right, bottom), label in zip(marks["boxes"].tolist(), marks["labels"].tolist(), strict=True):
            if label >= 0:
                colour = tuple(int(value) for value in colours[int(label)])
                cv2.rectangle(
                    drawn,
                    (round(left), round(top)),
                    (max(0, round(right) - 1), max(0, round(bottom) - 1)),
                    colour,
                    thick,
                )
    return np.ascontiguousarray(drawn.transpose(2, 0, 1))
