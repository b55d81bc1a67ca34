"""Pascal VOC's .xml: a file for each picture, with the name and the box of each thing in it.

Everingham et al., "The Pascal visual object classes challenge", 2010. Classes are in the order of their names. Parts
are those of lists called `train.txt`, `val.txt` and `test.txt` in a folder `splits` or `ImageSets/Main` beside.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from nearfar.contract import Skipped, Unreadable
from nearfar.errors import DataError
from nearfar.modalities.image.annotations import beside
from nearfar.modalities.image.annotations.coco import SPLITS, Found, Thing, clipped, places_by_name
from nearfar.modalities.image.annotations.sizes import size_of
from nearfar.modalities.image.source import ImageSource

_LARGEST = 10_000_000  # bytes of a file
_LISTS = ("splits", "ImageSets/Main", "")


def read(source: ImageSource, folder: Path) -> Found:
    """What the files in a folder say of a source's pictures; raises DataError."""
    keys = source.whole.keys
    place_of = places_by_name(keys)
    by_stem = {key.rpartition(".")[0].rpartition("/")[2] or key: place for place, key in enumerate(keys)}
    raw: dict[int, list[tuple[str, tuple[float, float, float, float], bool]]] = {}
    sizes: dict[int, tuple[int, int]] = {}
    skipped: list[Skipped] = []
    for path in sorted(folder.rglob("*.xml")):
        try:
            root = _parsed(path)
        except ValueError as error:
            skipped.append(Skipped(path.name, f"cannot be read: {str(error)[:80]}"))
            continue
        place = by_stem.get(path.stem)
        if place is None and (place := place_of((root.findtext("filename") or "").strip())) is None:
            skipped.append(Skipped(path.name, "annotated, and there is no such picture"))
            continue
        try:
            sizes[place] = _size(root) or size_of(source.whole, place, source.store.max_pixels)
        except Unreadable as error:
            skipped.append(Skipped(path.name, str(error)))
            continue
        raw[place] = []
        for number, thing in enumerate(root.iter("object"), start=1):
            name, box = (thing.findtext("name") or "").strip(), _box(thing)
            if not name or box is None:
                skipped.append(Skipped(keys[place], f"thing {number}: its {'name' if not name else 'box'} is missing"))
                continue
            raw[place].append((name, box, (thing.findtext("difficult") or "0").strip() == "1"))
    if not raw:
        raise DataError(f"None of the .xml files in {str(folder)!r} is about a picture of {source.name!r}.")
    classes = sorted({name for things in raw.values() for name, _, _ in things})
    numbers = {name: i for i, name in enumerate(classes)}
    known = np.zeros(len(keys), dtype=bool)
    found = Found(classes, known, sizes=sizes, skipped=skipped)
    for place, things in raw.items():
        known[place], found.things[place] = True, []
        for name, box, hard in things:
            # What is hard to see is neither learnt from nor counted, as in VOC's own protocol.
            thing_, why = clipped(Thing(box, numbers[name], hard), sizes[place])
            if why:
                skipped.append(Skipped(keys[place], f"{name}: {why}"))
            if thing_ is not None:
                found.things[place].append(thing_)
    found.parts = _parts(source, by_stem, len(keys))
    return found


def _parsed(path: Path) -> ElementTree.Element:
    if path.stat().st_size > _LARGEST:
        raise ValueError("too large for an annotation")
    try:
        return ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from None


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    try:
        high, wide = (int(float(root.findtext(f"size/{name}") or 0)) for name in ("height", "width"))
    except ValueError:
        return None
    return (high, wide) if high > 0 and wide > 0 else None


def _box(thing: ElementTree.Element) -> tuple[float, float, float, float] | None:
    try:
        left, top, right, bottom = (
            float(thing.findtext(f"bndbox/{name}") or "nan") for name in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError:
        return None
    return (left, top, right, bottom) if np.isfinite([left, top, right, bottom]).all() else None


def _parts(source: ImageSource, by_stem: dict[str, int], count: int) -> "np.typing.NDArray[np.str_] | None":
    parts = np.full(count, "", dtype="<U8")
    for place in beside.places(source.whole.origin):
        for folder in _LISTS:
            for split in SPLITS:
                for stem in _lines(place / folder / f"{split}.txt"):
                    if stem in by_stem:
                        parts[by_stem[stem]] = split
            if (parts != "").any():
                return parts
    return None


def _lines(path: Path) -> Sequence[str]:
    try:
        return [
            line.split()[0].rpartition("/")[2].removesuffix(".jpg")
            for line in path.read_text().splitlines()
            if line.split()
        ]
    except (OSError, ValueError):
        return []
