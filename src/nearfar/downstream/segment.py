"""Segment: a class for each pixel, judged by the mean IoU of the classes; predictions are masks in full size."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nearfar.contract import Encoder, Method, Rows, Source
from nearfar.contract.annotations import VOID
from nearfar.downstream.dense import DenseTask
from nearfar.downstream.mask_files import MaskFolder
from nearfar.downstream.over_samples import rows_over
from nearfar.downstream.pictures import fetched
from nearfar.downstream.task import Judged, Predictor, Record, head_of
from nearfar.errors import DataError
from nearfar.evaluation.task import TRAINED, Row
from nearfar.files import plain
from nearfar.methods.deeplab import DeepLabHead
from nearfar.methods.segment import Segment


@dataclass
class Segmented(Judged):
    """What a segmenter says of the M pictures that judge, `at` of which places: pixels by true and by given class.

    `tallies` int64 [M, K, K]; rows are the true classes.
    """

    at: Tensor
    tallies: Tensor
    classes: list[str]
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> Sequence[Row]:
        """Of its encoder and head."""
        return rows_of({TRAINED: [self]}, {}, task="head")

    def to_json(self) -> dict[str, Any]:
        """Lists of numbers."""
        found: dict[str, Any] = plain(vars(self))
        return found


def rows_of(found: Mapping[str, Sequence[Segmented]], setting: Mapping[str, str | int], *, task: str) -> list[Row]:
    """Mean IoU, the accuracy of pixels, and the IoU of each class that is in the pictures."""
    first = next(iter(found.values()))[0]
    shared = first.at
    for one in (one for draws in found.values() for one in draws):
        shared = shared[torch.isin(shared, one.at)]
    table = {name: [one.tallies[torch.isin(one.at, shared)].double() for one in draws] for name, draws in found.items()}
    there = next(iter(table.values()))[0].sum((0, 2)) > 0

    def over(metric: str, value: Callable[[Tensor], Tensor], **how: Any) -> list[Row]:
        figures = {name: [_figure(value, one) for one in draws] for name, draws in table.items()}
        return rows_over(task, metric, setting, figures, len(shared), **how)

    def mean_iou(sums: Tensor) -> Tensor:
        return iou(sums)[:, there].nanmean(1)

    def accuracy(sums: Tensor) -> Tensor:
        return sums.diagonal(dim1=1, dim2=2).sum(1) / sums.sum((1, 2))

    def of_class(number: int, sums: Tensor) -> Tensor:
        return iou(sums)[:, number].nan_to_num()

    rows = over("mean IoU", mean_iou, role="judged") + over("pixel accuracy", accuracy, role="shown")
    for number in there.nonzero()[:, 0].tolist():
        rows += over(f"IoU of {first.classes[number]}", partial(of_class, number), role="detail")
    return rows


def iou(sums: Tensor) -> Tensor:
    """Intersection over union of each class `[B, K]` by pixels `[B, K, K]`; NaN for one that is nowhere."""
    both = sums.diagonal(dim1=1, dim2=2)
    return both / (sums.sum(1) + sums.sum(2) - both)


def _figure(value: Callable[[Tensor], Tensor], tallies: Tensor) -> Callable[[Tensor], Tensor]:
    size = tallies.shape[1:]
    return lambda weights: value((weights @ tallies.flatten(1)).view(-1, *size))


class Segmenter(Predictor):
    """An encoder with a head: a class for each pixel of a picture in its own size."""

    wants = "sizes"
    fields: ClassVar[Mapping[str, type]] = {"mask": str}  # type: ignore[misc]

    def __init__(self, encoder: Encoder, head: DeepLabHead, classes: Sequence[str]) -> None:
        self.encoder, self.head, self.classes = encoder, head.eval(), list(classes)

    @torch.no_grad()
    def masks(self, raw: Any, sizes: Sequence[tuple[int, int]]) -> list[NDArray[np.uint8]]:
        """Class numbers `[h, w]` of the pictures of a raw batch, h and w being their `sizes`."""
        found: dict[int, NDArray[np.uint8]] = {}
        for members, inputs in self.encoder.whole(raw):
            scores = self.head(self.encoder.maps(inputs)).float()
            for i, one in zip(members, scores, strict=True):
                large = F.interpolate(one[None], sizes[i], mode="bilinear", align_corners=False)[0]
                found[i] = large.argmax(0).to(torch.uint8).cpu().numpy()
        return [found[i] for i in range(len(found))]

    def predict(self, raw: Any) -> list[Record]:
        """`mask`, class numbers uint8 [h, w], and `share of CLASS` of the pixels, where there are any."""
        records: list[Record] = []
        for mask in self.masks(raw, [(int(high), int(wide)) for high, wide in raw.marks["size"].tolist()]):
            counts = np.bincount(mask.ravel(), minlength=len(self.classes)) / mask.size
            shares = {f"share of {name}": round(float(counts[i]), 6) for i, name in enumerate(self.classes)}
            records.append({"mask": mask, **shares})
        return records

    def writer(self, out: Path) -> "MaskFolder":
        """A folder of masks."""
        return MaskFolder(out, self.classes)


class SegmentTask(DenseTask[Segmenter, Segmented]):
    """The head of DeepLabV3+ on the maps of an encoder."""

    name = "segment"
    method = Segment
    least_classes, most_classes = 2, 254
    steps = 300
    protocol = "Masks are judged pixel by pixel in the size they are given in; mean IoU is that of all test pixels."
    meanings: ClassVar[Mapping[str, str]] = {
        "mean IoU": "Of each class the pixels rightly given, over those that are or should be given; the mean of all.",
        "pixel accuracy": "The share of the pixels that are given the right class.",
    }

    def saying(self, encoder: Encoder, head: nn.Module, classes: Sequence[str], codes: Sequence[int] = ()) -> Segmenter:
        """A segmenter."""
        assert isinstance(head, DeepLabHead)
        return Segmenter(encoder, head, classes)

    def told(self, predictor: Segmenter, judges: Source) -> Segmented:
        """Of each picture, how many pixels of each true class are given each class."""
        return told(predictor, judges)

    def notes(self, source: Source, judges: Source) -> list[str]:
        """What to know of the masks."""
        return notes_of(source, judges)

    def rows(self, told: Mapping[str, Sequence[Segmented]], setting: Mapping[str, str | int]) -> list[Row]:
        """Mean IoU and what goes with it."""
        return rows_of(told, setting, task="fine-tuning")

    def judged(self, stored: Mapping[str, Any]) -> Segmented:
        """The lists of numbers as tensors."""
        try:
            at, tallies = torch.tensor(stored["at"]), torch.tensor(stored["tallies"])
            classes, notes = [str(name) for name in stored["classes"]], [str(note) for note in stored["notes"]]
            assert tallies.shape == (len(at), len(classes), len(classes))
        except (KeyError, TypeError, ValueError, RuntimeError, AssertionError) as error:
            raise DataError(f"What was judged cannot be read: {str(error)[:200]}.") from None
        return Segmented(at, tallies, classes, notes)

    def shown(self, method: Method, judges: Source, rows: Rows) -> "Iterator[tuple[int, list[dict[str, Any]]]]":
        """The true and the given mask of some of the pictures that judge."""
        made = head_of(method, Segment)
        assert judges.annotations is not None
        segmenter = Segmenter(made.encoder, made.head, judges.annotations.classes)
        for row, truth, given in _compared(segmenter, judges, rows):
            yield row, [{"mask": truth}, {"mask": given}]


def told(segmenter: Segmenter, judges: Source) -> Segmented:
    """What a segmenter says of the annotated pictures of a source."""
    assert judges.annotated is not None
    count = len(segmenter.classes)
    at, tallies = [], []
    for row, truth, given in _compared(segmenter, judges, np.flatnonzero(judges.annotated >= 0)):
        known = truth != VOID
        pairs = truth[known].astype(np.int64) * count + given[known]
        at.append(int(judges.at[row]))
        tallies.append(np.bincount(pairs, minlength=count * count).reshape(count, count))
    table = np.array(tallies, dtype=np.int64).reshape(-1, count, count)
    return Segmented(torch.tensor(at), torch.from_numpy(table), list(segmenter.classes))


def _compared(
    segmenter: Segmenter, judges: Source, rows: Rows
) -> "Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]":
    """Rows, and the true and the given class of each pixel."""
    assert judges.annotations is not None
    numbers = {name: i for i, name in enumerate(segmenter.classes)}
    table = np.full(256, VOID, dtype=np.uint8)
    for i, name in enumerate(judges.annotations.classes):
        table[i] = numbers.get(name, VOID)
    for raw, kept in fetched(segmenter.encoder, judges, rows):
        truths = [table[judges.annotations.read(int(judges.at[row]))] for row in kept]
        given = segmenter.masks(raw, [truth.shape for truth in truths])
        yield from zip(kept, truths, given, strict=True)


def notes_of(source: Source, judges: Source) -> list[str]:
    """What to know of the masks."""
    notes = list[str]()
    assert source.annotations is not None
    classes = source.annotations.classes
    for what, one in (("training pictures", source), ("pictures that judge", judges)):
        assert one.annotated is not None
        if missing := int((one.annotated < 0).sum()):
            notes.append(f"{missing} of {len(one)} {what} have no mask, and are left out.")
        assert one.annotations is not None
        notes += [note for note in one.annotations.remarks() if note not in notes]
        if unknown := sorted(set(one.annotations.classes) - set(classes)):
            notes.append(f"Classes that no training mask has are not judged: {', '.join(unknown[:5])}.")
    return notes


TASK = SegmentTask()
