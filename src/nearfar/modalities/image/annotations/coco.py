"""COCO's json: pictures, and things in them with a box each and perhaps an outline.

Lin et al., "Microsoft COCO: common objects in context", 2014; the format is that of cocodataset.org/#format-data.
Categories are numbered in the order of their ids. Several files are several parts, named by what stands in their names
(`coco_train.json`, `instances_val2017.json`) or in those of their folders.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nearfar.contract import Skipped
from nearfar.data.splits import canonical
from nearfar.errors import DataError
from nearfar.files import read_json
from nearfar.modalities.image.annotations import beside
from nearfar.modalities.image.source import ImageSource
from nearfar.options import is_number

SPLITS = ("train", "val", "test")
_UNNAMED = "pictures of no part"


@dataclass(frozen=True)
class Thing:
    """One thing in a picture: left, top, right and bottom in pixels, its class, and its outline as COCO has it."""

    box: tuple[float, float, float, float]
    label: int
    crowd: bool = False
    outline: Any = None


@dataclass
class Found:
    """What is said of N pictures: the `things` in each that is `known`, and its height and width."""

    classes: Sequence[str]
    known: NDArray[np.bool_]
    things: dict[int, list[Thing]] = field(default_factory=dict)
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    parts: NDArray[np.str_] | None = None
    codes: Sequence[int] = ()
    """Ids of the categories."""
    ids: dict[int, int] = field(default_factory=dict)
    """Ids of the pictures, by their place."""
    skipped: list[Skipped] = field(default_factory=list)


def files(origin: str) -> list[Path]:
    """The COCO files beside the pictures of DATA, or in a folder."""
    return beside.files(origin, lambda name: bool(re.search(r"(coco|instances|annotations).*\.json$", name.lower())))


def read(source: ImageSource, documents: Sequence[Path]) -> Found:
    """What COCO files say of a source's pictures, which they name by `file_name`; raises DataError."""
    contents = [(path, _checked(path)) for path in documents]
    named: dict[int, str] = {}
    for path, content in contents:
        for one in _listed(content, "categories", path):
            if not (isinstance(one.get("id"), int) and isinstance(one.get("name"), str)):
                continue
            if (other := named.setdefault(one["id"], one["name"])) != one["name"]:
                raise DataError(
                    f"{str(path)!r} calls the category {one['id']} {one['name']!r}, another file {other!r}."
                )
    if not named:
        raise DataError(f"{str(documents[0])!r} names no categories: is it a file of COCO's format?")
    number = {identity: i for i, identity in enumerate(sorted(named))}
    keys = source.whole.keys
    place_of = places_by_name(keys)
    found = Found([named[identity] for identity in sorted(named)], np.zeros(len(keys), dtype=bool))
    found.codes = tuple(sorted(named))
    parts = np.full(len(keys), "", dtype="<U8")
    for path, content in contents:
        where: dict[Any, int] = {}
        for image in _listed(content, "images", path):
            name = str(image.get("file_name"))
            place = place_of(name)
            if place is None:
                found.skipped.append(Skipped(name, "annotated, and there is no such picture"))
                continue
            if not (isinstance(image.get("width"), int) and isinstance(image.get("height"), int)):
                found.skipped.append(Skipped(name, "annotated without its width and height"))
                continue
            where[image.get("id")] = place
            found.known[place], found.sizes[place] = True, (image["height"], image["width"])
            parts[place] = part_of(path)
            if isinstance(image.get("id"), int):
                found.ids[place] = image["id"]
            found.things.setdefault(place, [])
        lost = 0
        for one in _listed(content, "annotations", path):
            if one.get("image_id") not in where:
                lost += 1
                continue
            place = where[one["image_id"]]
            thing, why = _thing(one, number)
            thing, why = (None, why) if thing is None else clipped(thing, found.sizes[place])
            if why:
                found.skipped.append(Skipped(keys[place], f"thing {one.get('id')}: {why}"))
            if thing is not None:
                found.things[place].append(thing)
        if lost:
            found.skipped.append(Skipped(path.name, f"{lost} things are of pictures that are not there"))
    if not found.known.any():
        raise DataError(
            f"{str(documents[0])!r} names no picture of {source.name!r}: `file_name` must be that of a picture."
        )
    if (parts != "").any():
        found.parts = parts
    return found


def part_of(path: Path) -> str:
    """The part that a file is of, by its name or its folder's; an empty text where these say nothing."""
    words = [canonical(word) for word in (*re.split(r"[\W_\d]+", path.stem), path.parent.name)]
    return next((word for word in words if word in SPLITS), "")


def places_by_name(keys: Sequence[str]) -> Any:
    """Where a picture of a name stands among `keys`: by all of the name, else by its last part, where one has it."""
    whole = {key: place for place, key in enumerate(keys)}
    last: dict[str, list[int]] = {}
    for key, place in whole.items():
        last.setdefault(key.rpartition("/")[2], []).append(place)

    def find(name: str) -> int | None:
        if name in whole:
            return whole[name]
        alike = last.get(name.rpartition("/")[2], [])
        return alike[0] if len(alike) == 1 else None

    return find


def clipped(thing: Thing, size: tuple[int, int]) -> tuple[Thing | None, str]:
    """The thing with its box inside of the picture, None where nothing is left; and what was wrong, if anything."""
    high, wide = size
    left, top, right, bottom = thing.box
    if right <= left or bottom <= top:
        return None, "its box has no area"
    inside = max(0.0, left), max(0.0, top), min(float(wide), right), min(float(high), bottom)
    if inside[2] - inside[0] < 1e-3 or inside[3] - inside[1] < 1e-3:
        return None, "its box lies outside of the picture"
    # Boxes that end a pixel beyond the border come of counting from 1.
    beyond = max(inside[0] - left, inside[1] - top, right - inside[2], bottom - inside[3])
    return Thing(inside, thing.label, thing.crowd, thing.outline), "its box is cut at the border" if beyond > 1 else ""


def mask_of(things: Sequence[Thing], size: tuple[int, int], void: int) -> NDArray[np.uint8]:
    """A class for each pixel [h, w], 0 where there is nothing: outlines, or boxes without one, small ones on top.

    Crowds are `void`.
    """
    mask = np.zeros(size, dtype=np.uint8)
    drawn = [(_drawn(thing, size), thing) for thing in things]
    for inside, thing in sorted(drawn, key=lambda one: (not one[1].crowd, -int(one[0].sum()))):
        mask[inside] = void if thing.crowd else thing.label + 1
    return mask


def _drawn(thing: Thing, size: tuple[int, int]) -> NDArray[np.bool_]:
    outline = thing.outline
    if isinstance(outline, Mapping):
        return _of_runs(outline, size)
    canvas = Image.new("1", (size[1], size[0]))
    draw = ImageDraw.Draw(canvas)
    polygons = [one for one in outline if len(one) >= 6] if isinstance(outline, list) else []
    for polygon in polygons:
        draw.polygon([(float(x), float(y)) for x, y in zip(polygon[::2], polygon[1::2], strict=False)], fill=1)
    if not polygons:
        left, top, right, bottom = thing.box
        draw.rectangle((round(left), round(top), round(right) - 1, round(bottom) - 1), fill=1)
    return np.array(canvas, dtype=bool)


def _of_runs(outline: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Runs of pixels outside and inside by turns, column by column; packed in a text as COCO's own code does."""
    counts = outline.get("counts", [])
    runs = _unpacked(counts) if isinstance(counts, str) else [int(count) for count in counts]
    flat = np.zeros(size[0] * size[1], dtype=bool)
    at = 0
    for i, run in enumerate(runs):
        if i % 2:
            flat[at : at + max(run, 0)] = True
        at += max(run, 0)
    return flat.reshape(size[1], size[0]).T


def _unpacked(text: str) -> list[int]:
    """Numbers of six bits a character, the highest saying whether more follow, from the third on as differences."""
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value, shift = 0, 0
    return runs


def _thing(one: Mapping[str, Any], number: Mapping[int, int]) -> tuple[Thing | None, str]:
    box, category = one.get("bbox"), one.get("category_id")
    if not isinstance(category, int) or category not in number:
        return None, f"its category {category!r:.40} is not listed"
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        return None, f"its box {box!r:.60} is no list of four numbers"
    left, top, wide, high = map(float, box)
    crowd = bool(one.get("iscrowd", 0))
    return Thing((left, top, left + wide, top + high), number[category], crowd, one.get("segmentation")), ""


def _checked(path: Path) -> Mapping[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{str(path)!r} cannot be read as COCO's json: {str(error)[:200]}.") from None
    if not isinstance(content, dict):
        raise DataError(
            f"{str(path)!r} is no json object with images, annotations and categories, as COCO's files are."
        )
    return content


def _listed(content: Mapping[str, Any], name: str, path: Path) -> list[Mapping[str, Any]]:
    found = content.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise DataError(f"{str(path)!r} has no list of {name}, as files of COCO's format have.")
    return found
