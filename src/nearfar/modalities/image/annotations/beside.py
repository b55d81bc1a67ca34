"""Where annotations lie beside a folder of pictures."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from nearfar.data.folder import extension_of, is_passed_over
from nearfar.data.location import parse_data
from nearfar.data.splits import canonical

PICTURES = ("images", "image", "imgs", "img", "pictures", "photos", "jpegimages")
"""Names of folders of pictures that lie beside a folder of their annotations."""


ANNOTATIONS = (
    *("masks", "mask", "labels", "segmentationclass", "segmentation", "annotations", "gtfine", "groundtruth"),
    *("boxes", "xmls"),
)
"""Names of folders of annotations."""


def around(data: str, *, files: bool = True) -> str:
    """The pictures in a folder that holds them beside their annotations; else DATA as it is.

    Annotations are a folder that is called so, or with `files` a JSON, too.
    """
    path, split = parse_data(data)
    inside = _named(path, PICTURES)
    beside = _named(path, ANNOTATIONS) is not None or (
        files and any(name.lower().endswith(".json") for name in _entries(path))
    )
    if inside is None or not beside:
        return data
    return os.path.join(path, inside) + (f":{split}" if split else "")


def places(origin: str) -> list[Path]:
    """Folders in which the annotations of the pictures of DATA may lie: its own, and the one around it."""
    path = Path(parse_data(origin)[0])
    own = path if path.is_dir() else path.parent
    above = [own.resolve().parent] if own.name.lower() in PICTURES else []
    return [*above, own]


def folder(origin: str, names: Sequence[str], holds: frozenset[str]) -> Path | None:
    """The first folder of `names` beside the pictures with files of these extensions somewhere in it."""
    for place in places(origin):
        for name in names:
            found = _named(str(place), (name,))
            if found is not None and _any_file(place / found, lambda one: extension_of(one) in holds):
                return place / found
    return None


def files(origin: str, pattern: Callable[[str], bool]) -> list[Path]:
    """Files whose names fit beside the pictures, in folders called annotations, and in the folders of splits."""
    for place in places(origin):
        found = []
        for where in (place, *(place / name for name in _entries(str(place)) if _may_hold(name))):
            found += [where / name for name in _entries(str(where)) if pattern(name) and (where / name).is_file()]
        if found:
            return sorted(found)
    return []


def _may_hold(name: str) -> bool:
    return "annotation" in name.lower() or canonical(name) in ("train", "val", "test")


def _named(path: str, names: Sequence[str]) -> str | None:
    there = {entry.lower(): entry for entry in _entries(path) if os.path.isdir(os.path.join(path, entry))}
    return next((there[name] for name in names if name in there), None)


def _entries(path: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if not is_passed_over(name))
    except (OSError, ValueError):  # also of a name that no file can have
        return []


def _any_file(path: Path, fits: Callable[[str], bool]) -> bool:
    return any(fits(name) for _, _, names in os.walk(path) for name in names)
