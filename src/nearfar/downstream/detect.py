"""Detect: boxes around things, judged by mean average precision; predictions are COCO's results and pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from nearfar.contract import Encoder, Method, Rows, Source
from nearfar.contract.annotations import Boxes
from nearfar.downstream.coco_results import CocoResults
from nearfar.downstream.dense import DenseTask
from nearfar.downstream.over_samples import rows_over
from nearfar.downstream.pictures import fetched
from nearfar.downstream.task import Judged, Predictor, Record, head_of
from nearfar.errors import DataError
from nearfar.evaluation.average_precision import Matched, matched
from nearfar.evaluation.task import TRAINED, Role, Row
from nearfar.files import plain
from nearfar.methods.detect import Detect
from nearfar.methods.faster_rcnn import DetectorHead

_DRAWN = 0.5  # the least score of a box that is drawn
_DIGITS = 2  # of a pixel, where boxes are kept


@dataclass
class Detected(Judged):
    """What a detector says of the M pictures that judge, `at` of which places, and what is there.

    Of each picture `given` are rows of left, top, right, bottom, score and class, `true` of left, top, right, bottom,
    class and whether it is a crowd; both in pixels.
    """

    at: list[int]
    given: list[list[list[float]]]
    true: list[list[list[float]]]
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

    def matched(self, at: Sequence[int]) -> list[Matched]:
        """Of each class the boxes of the pictures `at`, matched with those that are there."""
        row = {place: i for i, place in enumerate(self.at)}
        given = [np.array(self.given[row[place]], dtype=np.float64).reshape(-1, 6) for place in at]
        true = [np.array(self.true[row[place]], dtype=np.float64).reshape(-1, 6) for place in at]
        return [
            matched(
                [(one[one[:, 5] == k, :4], one[one[:, 5] == k, 4]) for one in given],
                [(one[one[:, 4] == k, :4], one[one[:, 4] == k, 5] > 0) for one in true],
            )
            for k in range(len(self.classes))
        ]


def rows_of(found: Mapping[str, Sequence[Detected]], setting: Mapping[str, str | int], *, task: str) -> list[Row]:
    """Mean average precision over ten thresholds, and at the first one alone; of each class, too."""
    first = next(iter(found.values()))[0]
    shared = sorted(set.intersection(*(set(one.at) for draws in found.values() for one in draws)))
    table = {name: [_Precisions(one.matched(shared)) for one in draws] for name, draws in found.items()}
    there = next(iter(table.values()))[0].there

    def over(metric: str, classes: Sequence[int], thresholds: slice, role: Role) -> list[Row]:
        def mean(one: _Precisions, weights: Tensor) -> Tensor:
            return one.of(weights)[:, classes, thresholds].flatten(1).nanmean(1).nan_to_num()

        figures = {name: [partial(mean, one) for one in draws] for name, draws in table.items()}
        return rows_over(task, metric, setting, figures, len(shared), role=role)

    every = list(range(len(there)))
    rows = over("mAP", every, slice(None), "judged") + over("mAP50", every, slice(1), "judged")
    if len(there) > 1:
        for i, k in enumerate(there):
            rows += over(f"AP of {first.classes[k]}", [i], slice(None), "detail")
    return rows


class _Precisions:
    """Average precision of each class that is `there`, under weights of the pictures; kept, as several rows want it."""

    def __init__(self, every: Sequence[Matched]) -> None:
        self.there = [k for k, one in enumerate(every) if int(one.there.sum())]
        self._every = [every[k] for k in self.there]
        self._known: dict[bytes, Tensor] = {}

    def of(self, weights: Tensor) -> Tensor:
        """`[B, K, T]` for weights `[B, M]`; NaN where a class is in none of the pictures."""
        key = blake2b(weights.numpy().tobytes(), digest_size=16).digest()
        if key not in self._known:
            self._known[key] = torch.stack([one.precision(weights) for one in self._every], 1)
        return self._known[key]


class Detector(Predictor):
    """An encoder with the parts of Faster R-CNN: boxes in pixels of a picture's own size."""

    wants = "sizes"
    fields: ClassVar[Mapping[str, type]] = {"boxes": str}  # type: ignore[misc]

    def __init__(self, encoder: Encoder, head: DetectorHead, classes: Sequence[str], codes: Sequence[int] = ()) -> None:
        self.encoder, self.head, self.classes = encoder, head.eval(), list(classes)
        self.codes = list(codes) or list(range(1, len(self.classes) + 1))

    @torch.no_grad()
    def boxes(self, raw: Any, sizes: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """`boxes` [k, 4], `labels` [k] and `scores` [k] of the pictures of a raw batch of these heights and widths."""
        found: dict[int, dict[str, Tensor]] = {}
        for members, inputs in self.encoder.whole(raw):
            assert isinstance(inputs, Tensor)
            levels = self.head.levels(self.encoder.maps(inputs))
            high, wide = inputs.shape[-2:]
            for i, one in zip(members, self.head.boxes(levels, inputs), strict=True):
                scale = torch.tensor([sizes[i][1] / wide, sizes[i][0] / high] * 2)
                found[i] = {name: values.cpu() for name, values in one.items()}
                found[i]["boxes"] = found[i]["boxes"] * scale
        return [found[i] for i in range(len(found))]

    def predict(self, raw: Any) -> list[Record]:
        """`boxes`, a list of left, top, width and height in pixels, their `labels` and `scores`, best first."""
        sizes = [(int(high), int(wide)) for high, wide in raw.marks["size"].tolist()]
        numbers = raw.marks["id"].tolist()
        records: list[Record] = []
        for one, (high, wide), number in zip(self.boxes(raw, sizes), sizes, numbers, strict=True):
            corners = one["boxes"].double()
            boxes = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
            records.append({
                "boxes": [[round(value, _DIGITS) for value in box] for box in boxes.tolist()],
                "labels": [self.classes[label] for label in one["labels"].tolist()],
                "scores": [round(score, 6) for score in one["scores"].tolist()],
                "width": wide,
                "height": high,
                "image_id": None if number < 0 else number,
            })  # fmt: skip
        return records

    def writer(self, out: Path) -> CocoResults:
        """COCO's results, and in a folder pictures with the boxes."""
        return CocoResults(out, dict(zip(self.classes, self.codes, strict=True)), least=_DRAWN)


class DetectTask(DenseTask[Detector, Detected]):
    """The parts of Faster R-CNN on the maps of an encoder."""

    name = "detect"
    method = Detect
    most_classes = 10_000
    steps = 600
    protocol = "Average precision is that of COCO: 101 values of recall, up to 100 boxes of a class in a picture."
    meanings: ClassVar[Mapping[str, str]] = {
        "mAP": "Average precision, the mean over classes and ten thresholds of overlap from 0.5 to 0.95.",
        "mAP50": "The same where half of the union of two boxes is enough of an overlap.",
    }

    def saying(self, encoder: Encoder, head: nn.Module, classes: Sequence[str], codes: Sequence[int] = ()) -> Detector:
        """A detector."""
        assert isinstance(head, DetectorHead)
        return Detector(encoder, head, classes, codes)

    def told(self, predictor: Detector, judges: Source) -> Detected:
        """The true boxes of each picture, and those that are given."""
        return told(predictor, judges)

    def notes(self, source: Source, judges: Source) -> list[str]:
        """What to know of the boxes."""
        return notes_of(source, judges)

    def rows(self, told: Mapping[str, Sequence[Detected]], setting: Mapping[str, str | int]) -> list[Row]:
        """Mean average precision and what goes with it."""
        return rows_of(told, setting, task="fine-tuning")

    def judged(self, stored: Mapping[str, Any]) -> Detected:
        """The lists of numbers."""
        try:
            found = Detected(**stored)
            rows = [row for some in (found.given, found.true) for picture in some for row in picture]
            assert len(found.at) == len(found.given) == len(found.true)
            assert all(len(row) == 6 and all(isinstance(value, int | float) for value in row) for row in rows)
        except (TypeError, AssertionError) as error:
            raise DataError(f"What was judged cannot be read: {str(error)[:200]}.") from None
        return found

    def shown(self, method: Method, judges: Source, rows: Rows) -> "Iterator[tuple[int, list[dict[str, Any]]]]":
        """The true boxes, and those given with a score of at least a half, of some of the pictures that judge."""
        made = head_of(method, Detect)
        assert judges.annotations is not None
        detector = Detector(made.encoder, made.head, judges.annotations.classes)
        for row, truth, given in _compared(detector, judges, rows):
            shares = np.array([truth.size[1], truth.size[0]] * 2)
            sure = given["scores"].numpy() >= _DRAWN
            yield (
                row,
                [
                    {"boxes": truth.corners / shares, "labels": truth.labels},
                    {"boxes": given["boxes"].numpy()[sure] / shares, "labels": given["labels"].numpy()[sure]},
                ],
            )


def told(detector: Detector, judges: Source) -> Detected:
    """What a detector says of the annotated pictures of a source."""
    assert judges.annotated is not None
    found = Detected([], [], [], list(detector.classes))
    for row, truth, given in _compared(detector, judges, np.flatnonzero(judges.annotated >= 0)):
        found.at.append(int(judges.at[row]))
        table = torch.cat([given["boxes"].double(), given["scores"][:, None], given["labels"][:, None]], 1)
        found.given.append([[round(value, 6) for value in line] for line in table.tolist()])
        lines = zip(truth.corners.tolist(), truth.labels.tolist(), truth.crowd.tolist(), strict=True)
        found.true.append([[*corners, label, float(crowd)] for corners, label, crowd in lines])
    return found


def _compared(detector: Detector, judges: Source, rows: Rows) -> "Iterator[tuple[int, Boxes, dict[str, Tensor]]]":
    """Rows, the true boxes, their labels numbered as the detector's, and what it gives; both in pixels."""
    assert judges.annotations is not None
    numbers = {name: i for i, name in enumerate(detector.classes)}
    table = np.array([numbers.get(name, -1) for name in judges.annotations.classes], dtype=np.int64)
    for raw, kept in fetched(detector.encoder, judges, rows):
        truths: list[Boxes] = [judges.annotations.read(int(judges.at[row])) for row in kept]
        given = detector.boxes(raw, [truth.size for truth in truths])
        for row, truth, one in zip(kept, truths, given, strict=True):
            own = table[truth.labels]
            known = own >= 0
            yield row, Boxes(truth.corners[known], own[known], truth.crowd[known], truth.size), one


def notes_of(source: Source, judges: Source) -> list[str]:
    """What to know of the boxes."""
    notes = list[str]()
    assert source.annotations is not None
    classes = source.annotations.classes
    for what, one in (("training pictures", source), ("pictures that judge", judges)):
        assert one.annotated is not None
        assert one.annotations is not None
        if missing := int((one.annotated < 0).sum()):
            notes.append(f"{missing} of {len(one)} {what} have no boxes said of them, and are left out.")
        if unknown := sorted(set(one.annotations.classes) - set(classes)):
            notes.append(f"Classes that no training picture has are not judged: {', '.join(unknown[:5])}.")
    lost = {
        (one.key, one.reason)
        for some in (source, judges)
        for one in (some.annotations.skipped if some.annotations else ())
    }
    if lost:
        notes.append(f"{len(lost)} annotations are wrong, and left out or cut: annotations_skipped.csv lists them.")
    return notes


TASK = DetectTask()
