"""Masks: a class for each pixel, from pictures of class numbers, of palettes or colours, or from polygons of COCO.

The mask of `train/001.jpg` is `train/001.png` in the folder of masks, or the only file there that is called `001`.
`classes.txt` beside the masks names the classes, in the order of their numbers; a line may also give a colour
(`sky 128 128 128`). Pixels of a value that is none of these, or of a class called void or unlabelled, are of no class.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nearfar.contract import Annotations, Rows, Skipped, Unreadable, Wanted
from nearfar.contract.annotations import VOID
from nearfar.data.folder import extension_of, walk
from nearfar.errors import DataError
from nearfar.modalities.image.annotations import beside, coco
from nearfar.modalities.image.annotations.sizes import check_aspect
from nearfar.modalities.image.source import ImageSource

_ENDINGS = frozenset({".png", ".bmp", ".gif", ".tif", ".tiff"})
_BEHIND = ("_mask", "_label", "_labels", "_labelids", "_gt", "_l", "-mask")
"""What names of masks have behind those of their pictures."""
_NOTHING = {"void", "unlabelled", "unlabeled", "ignore", "ignored", "undefined"}
_LISTS = ("classes.txt", "labels.txt", "label_names.txt")
_MOST = 254  # classes: a byte holds them, and what is of none
_LOOKED_AT = 200  # masks, for their values
_KEPT = 2**29  # bytes of masks that stay in memory

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Legend:
    """What the values of masks stand for: `table` [256] from a value to a class number, VOID for none; or colours."""

    classes: tuple[str, ...]
    table: Mask
    colours: Mapping[tuple[int, int, int], int] | None = None


class Masks(Annotations):
    """Masks that `load` gives by the place of their picture; those that are not `known` are of no class anywhere."""

    def __init__(
        self,
        source: ImageSource,
        classes: Sequence[str],
        known: NDArray[np.bool_],
        load: Callable[[int], Mask],
        parts: NDArray[np.str_] | None = None,
    ) -> None:
        super().__init__("masks", tuple(classes), known, parts)
        self._reading, self._load = source.reading, load
        self.outside: Counter[int] = Counter()
        """In how many masks read so far a value stands that is of no class."""
        self._squares: dict[tuple[int, int], Mask] = {}
        self._room = _KEPT

    def read(self, place: int) -> Mask:
        """The mask `[h, w]` of class numbers as it was given; raises Unreadable."""
        return self._load(place)

    def remarks(self) -> list[str]:
        """Which values are of no class."""
        if not self.outside:
            return []
        values = sorted(self.outside)
        named = ", ".join(map(str, values[:5])) + (" ..." if len(values) > 5 else "")
        return [f"Pixels of {'the value' if len(values) == 1 else 'the values'} {named} are of no class: left out."]

    def batch(self, places: Rows, aspects: Sequence[float], size: int) -> tuple[Mapping[str, Tensor], Rows]:
        """`mask` uint8 `[b, size, size]`."""
        found, sound = [], []
        for i, (place, aspect) in enumerate(zip(places.tolist(), aspects, strict=True)):
            try:
                found.append(self._square(place, aspect, size))
                sound.append(i)
            except Unreadable as error:
                self._reading.refuse(place, str(error))
        masks = np.stack(found) if found else np.empty((0, size, size), dtype=np.uint8)
        return {"mask": torch.from_numpy(masks)}, np.array(sound, dtype=np.int64)

    def _square(self, place: int, aspect: float, size: int) -> Mask:
        if not self.known[place]:
            return np.full((size, size), VOID, dtype=np.uint8)
        if (place, size) in self._squares:
            return self._squares[place, size]
        mask = self.read(place)
        check_aspect((mask.shape[0], mask.shape[1]), aspect)
        square = np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))
        if self._room >= square.nbytes:
            self._room -= square.nbytes
            self._squares[place, size] = square
        return square


def of(source: ImageSource, wanted: Wanted) -> Masks:
    """The masks of a source's pictures, where `wanted` says or beside them; raises DataError where there are none."""
    origin = source.whole.origin
    place = None if wanted.place is None else Path(wanted.place)
    if place is not None and not place.exists():
        raise DataError(f"There are no annotations at {str(place)!r}: give a folder of masks, or a COCO file.")
    if place is None:
        place = beside.folder(origin, beside.ANNOTATIONS, _ENDINGS)
    documents = coco.files(origin) if place is None else [place] if place.is_file() else coco.files(str(place))
    if place is not None and place.is_dir() and next(_files(place), None) is not None:
        return _from_folder(source, place, wanted.ignored)
    if documents:
        return _from_coco(source, documents)
    where = repr(source.name) if place is None else repr(str(place))
    raise DataError(
        f"There are no masks {'beside' if place is None else 'in'} {where}: put them into a folder `masks` beside that "
        "of the pictures, under the same names (masks/001.png of images/001.jpg), or say where they are with "
        "--annotations."
    )


def _from_folder(source: ImageSource, folder: Path, ignored: int) -> Masks:
    names = list(_files(folder))
    samples = source.whole
    find = _finder(names)
    found = [find(key) for key in samples.keys]
    known = np.array([one is not None for one in found], dtype=bool)
    if not known.any():
        first = next(iter(samples.keys), "")
        raise DataError(
            f"None of the {len(names)} masks in {str(folder)!r} has the name of a picture: that of {first!r} would be "
            f"{_stem(first) + '.png'!r}."
        )
    legend = _legend(folder, [str(folder / name) for name in names], ignored)
    made: Masks

    def load(place: int) -> Mask:
        return _numbers(folder / str(found[place]), legend, made.outside)

    made = Masks(source, legend.classes, known, load)
    made.skipped += [Skipped(samples.keys[i], "no mask") for i in np.flatnonzero(~known).tolist()]
    return made


def _from_coco(source: ImageSource, documents: Sequence[Path]) -> Masks:
    read = coco.read(source, documents)

    def load(place: int) -> Mask:
        return coco.mask_of(read.things[place], read.sizes[place], VOID)

    made = Masks(source, ["background", *read.classes], read.known, load, read.parts)
    made.skipped += read.skipped
    return made


def _files(folder: Path) -> Iterator[str]:
    yield from walk(str(folder), _ENDINGS).names


def _stem(name: str) -> str:
    return name[: len(name) - len(extension_of(name))]


def _finder(names: Sequence[str]) -> Callable[[str], str | None]:
    """The mask of a picture by its key: that of its whole name, else the only one of its last part; in any case."""
    whole = {_stem(name).lower(): name for name in names}
    last: dict[str, list[str]] = {}
    for name in names:
        last.setdefault(_stem(name).lower().rpartition("/")[2], []).append(name)

    def find(key: str) -> str | None:
        stem = _stem(key).lower()
        for behind in ("", *_BEHIND):
            if stem + behind in whole:
                return whole[stem + behind]
        for behind in ("", *_BEHIND):
            if len(alike := last.get(stem.rpartition("/")[2] + behind, [])) == 1:
                return alike[0]
        return None

    return find


def _legend(folder: Path, paths: Sequence[str], ignored: int) -> Legend:
    """What the values stand for: by `classes.txt` in the folder of masks or beside it, else by those that are met."""
    listed = next(
        (place / name for place in (folder, folder.parent) for name in _LISTS if (place / name).is_file()), None
    )
    if listed is None:
        return _of_values(paths, ignored)
    try:
        lines = [line.split() for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{str(listed)!r} cannot be read: {str(error)[:200]}.") from None
    names, colours = [], dict[tuple[int, int, int], int]()
    for number, words in enumerate(lines):
        values = [int(word) for word in words if word.isdigit() and int(word) < 256]
        text = [word for word in words if not word.isdigit()]
        if len(values) == 3 and text:
            colours[values[0], values[1], values[2]] = number
        names.append(" ".join(text) if text and len(values) in (0, 1, 3) else " ".join(words))
    if len(names) > 256 or len(set(names)) < len(names):
        raise DataError(f"{str(listed)!r} must name up to 256 classes, each once and on a line of its own.")
    return _with(names, ignored, colours if len(colours) == len(names) else None)


def _with(names: Sequence[str], ignored: int, colours: Mapping[tuple[int, int, int], int] | None = None) -> Legend:
    table = np.full(256, VOID, dtype=np.uint8)
    classes: list[str] = []
    for value, name in enumerate(names):
        if name.lower() not in _NOTHING and value != ignored:
            table[value] = len(classes)
            classes.append(name)
    if not 2 <= len(classes) <= _MOST:
        raise DataError(f"Masks need 2 to {_MOST} classes, and there are {len(classes)}: {', '.join(classes[:5])}.")
    return Legend(tuple(classes), table, colours)


def _of_values(paths: Sequence[str], ignored: int) -> Legend:
    """Classes named by their numbers, up to the largest one in some of the masks."""
    largest = -1
    for path in paths[:: max(1, len(paths) // _LOOKED_AT)]:
        try:
            values = np.unique(_opened(Path(path)))
        except Unreadable:
            continue
        largest = max([largest, *(value for value in values.tolist() if value not in (ignored, VOID))])
    return _with([str(value) for value in range(largest + 1)], ignored)


def _opened(path: Path) -> NDArray[Any]:
    """Class numbers [h, w], or colours [h, w, 3]; raises Unreadable."""
    try:
        with Image.open(path, formats=("PNG", "BMP", "GIF", "TIFF")) as image:
            values = np.asarray(
                image if image.mode in ("P", "L", "1", "RGB") or image.mode[0] == "I" else image.convert("RGB")
            )
    except Exception as error:  # of a damaged file, PIL raises anything
        raise Unreadable(f"its mask cannot be read: {str(error)[:80]}") from None
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.ndim == 3 and bool((values == values[:, :, :1]).all()):
        return values[:, :, 0]
    return values


def _numbers(path: Path, legend: Legend, outside: Counter[int]) -> Mask:
    """The class of each pixel [h, w], VOID for none; raises Unreadable."""
    values = _opened(path)
    if values.ndim == 3:
        if legend.colours is None:
            raise Unreadable("its mask is in colours: say in classes.txt which is which, such as `sky 128 128 128`")
        found = np.full(values.shape[:2], VOID, dtype=np.uint8)
        packed = values.astype(np.int64) @ np.array([65536, 256, 1])
        for (red, green, blue), number in legend.colours.items():
            found[packed == red * 65536 + green * 256 + blue] = legend.table[number]
        return found
    inside = (values >= 0) & (values < 256)
    found = legend.table[np.where(inside, values, VOID).astype(np.uint8)]
    if not inside.all():
        found[~inside] = VOID
    for value in np.unique(values[found == VOID]).tolist():
        outside[int(value)] += 1
    return found
