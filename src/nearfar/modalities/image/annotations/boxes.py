"""Boxes around things: from COCO's json, or from Pascal VOC's .xml."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.contract import Annotations, Rows, Unreadable, Wanted
from nearfar.contract.annotations import Boxes
from nearfar.errors import DataError
from nearfar.modalities.image.annotations import beside, coco, voc
from nearfar.modalities.image.annotations.sizes import check_aspect
from nearfar.modalities.image.source import ImageSource

_XML = frozenset({".xml"})


class BoxesOf(Annotations):
    """Boxes as they were found; crowds, and what is hard to see, are not learnt from."""

    def __init__(self, source: ImageSource, found: coco.Found) -> None:
        super().__init__("boxes", tuple(found.classes), found.known, found.parts, found.skipped, found.codes)
        self._found, self._reading = found, source.reading

    def read(self, place: int) -> Boxes:
        """The boxes in pixels of the picture."""
        things = self._found.things.get(place, [])
        corners = np.array([thing.box for thing in things], dtype=np.float64).reshape(-1, 4)
        labels = np.array([thing.label for thing in things], dtype=np.int64)
        return Boxes(corners, labels, np.array([thing.crowd for thing in things], dtype=bool), self._found.sizes[place])

    def batch(self, places: Rows, aspects: Sequence[float], size: int) -> tuple[Mapping[str, Tensor], Rows]:
        """`boxes` float32 [b, m, 4] as shares of the picture, and `labels` int64 [b, m], -1 for no box."""
        found, sound = list[tuple[NDArray[np.float64], NDArray[np.int64]]](), []
        for i, (place, aspect) in enumerate(zip(places.tolist(), aspects, strict=True)):
            if not self.known[place]:
                found.append((np.empty((0, 4)), np.empty(0, dtype=np.int64)))
                sound.append(i)
                continue
            one = self.read(place)
            try:
                check_aspect(one.size, aspect)
            except Unreadable as error:
                self._reading.refuse(place, str(error))
                continue
            shares = one.corners / np.array([one.size[1], one.size[0]] * 2)
            found.append((shares[~one.crowd], one.labels[~one.crowd]))
            sound.append(i)
        most = max((len(labels) for _, labels in found), default=0)
        boxes, labels = torch.zeros(len(found), most, 4), torch.full((len(found), most), -1)
        for i, (own, numbers) in enumerate(found):
            boxes[i, : len(own)], labels[i, : len(own)] = torch.from_numpy(own).float(), torch.from_numpy(numbers)
        return {"boxes": boxes, "labels": labels}, np.array(sound, dtype=np.int64)


def of(source: ImageSource, wanted: Wanted) -> BoxesOf:
    """The boxes of a source's pictures, where `wanted` says or beside them; raises DataError where there are none."""
    origin = source.whole.origin
    place = None if wanted.place is None else Path(wanted.place)
    if place is not None and not place.exists():
        raise DataError(f"There are no annotations at {str(place)!r}: give a COCO file, or a folder of VOC's .xml.")
    documents = coco.files(origin if place is None else str(place)) if place is None or place.is_dir() else [place]
    if documents:
        return BoxesOf(source, coco.read(source, documents))
    folder = place if place is not None else beside.folder(origin, beside.ANNOTATIONS, _XML)
    if folder is None and any(next(one.glob("*.xml"), None) is not None for one in beside.places(origin)[-1:]):
        folder = beside.places(origin)[-1]
    if folder is not None and next(folder.rglob("*.xml"), None) is not None:
        return BoxesOf(source, voc.read(source, folder))
    where = repr(source.name) if place is None else repr(str(place))
    raise DataError(
        f"There are no boxes {'beside' if place is None else 'in'} {where}: put coco_train.json, or a folder "
        "`annotations` of Pascal VOC's .xml, beside the folder of pictures, or say where they are with --annotations."
    )
