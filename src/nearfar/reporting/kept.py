"""What a run keeps for its page beside its other files, so that the page needs neither the data nor the encoder.

`page.json` holds the samples that the page shows, with small pictures and sounds, the projection, the key facts, the
alarms, and what the run cost. Its size is bounded as that of the page is.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nearfar.errors import DataError
from nearfar.files import read_json, to_json, write
from nearfar.reporting import explained

PAGE = "page.json"
FORMAT = 1

_SHOWN = (
    *("map", "views", "found", "predicted", "closest", "strangest", "explained"),
    *("images", "images_left_out", "media", "media_left_out", "samples"),
)
_ADDRESS = re.compile(r"data:(image/(jpeg|png|webp)|audio/(wav|ogg|mpeg));base64,[A-Za-z0-9+/=]*")


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a run took; None where it is not known."""

    seconds: float | None = None
    """Wall time of training."""
    steps: int | None = None
    epochs: float | None = None
    samples: int | None = None
    """Samples that were trained on."""
    seen: int | None = None
    """Samples that all steps together have seen."""
    parameters: int | None = None
    """Parameters of the encoder."""
    dim: int | None = None
    """Dimensions of its vectors."""
    memory: int | None = None
    """Bytes that the first process held at most."""
    device_memory: int | None = None
    """Bytes of its accelerator that it held at most."""
    processes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The content of `page.json`."""

    step: int
    """The step that it was made after."""
    facts: Mapping[str, str]
    alarms: list[Mapping[str, Any]]
    costs: Costs
    shown: Mapping[str, Any]
    """The samples, as `payload.shown` gives them."""


def save(folder: Path, kept: Kept) -> None:
    """Write `page.json` into a run folder, atomically; raises as `files.write`."""
    write(folder / PAGE, to_json({"format": FORMAT, **asdict(kept)}))


def load(folder: Path) -> Kept:
    """Read `page.json` of a run folder; raises DataError where it is missing, damaged, or of a later version."""
    path = folder / PAGE
    try:
        found = read_json(path)
        if found["format"] != FORMAT:
            raise DataError(f"{str(path)!r} was written by a later nearfar (format {found['format']!r}).")
        costs = {f.name: _number(found["costs"].get(f.name)) for f in fields(Costs)}
        return Kept(
            step=int(found["step"]),
            facts={str(name): str(value) for name, value in found["facts"].items()},
            alarms=[dict(alarm) for alarm in found["alarms"]],
            costs=Costs(**costs),
            shown=_checked(found["shown"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{str(path)!r} cannot be read: {error!r:.200}.") from None


def _number(value: Any) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{value!r} is no number")
    return value


def _checked(shown: Mapping[str, Any]) -> Mapping[str, Any]:
    """The samples, where every reference leads to something; raises ValueError and the like."""
    for address in [*shown["images"], *shown["media"]]:
        if not _ADDRESS.fullmatch(address):
            raise ValueError(f"{address[:40]!r} is no picture or sound")
    sizes = len(shown["images"]), len(shown["media"])
    for key, label, image, text, media in shown["samples"]:
        if not (isinstance(key, str) and isinstance(label, str | None) and isinstance(text, str | None)):
            raise ValueError(f"{key!r} is no sample")
        for number, size in zip((image, media), sizes, strict=True):
            if number is not None and not 0 <= number < size:
                raise ValueError(f"{key!r} has a picture or sound that is not there")
    count = len(shown["samples"])
    shown = {"explained": [], "predicted": [], **shown}  # runs of earlier versions have none
    named = [i for name in ("views", "found", "predicted") for row in shown[name] for i in (row["item"], *row["views"])]
    named += [i for a, b, _ in shown["closest"] for i in (a, b)] + [i for i, _ in shown["strangest"]]
    points = shown["map"]
    if points is not None:
        named += points["items"]
        on_map = len(points["items"])
        same = {on_map, *(len(points[name]) for name in ("xy", "neighbours", "similarities"))}
        if len(same) > 1 or not all(0 <= j < on_map for near in points["neighbours"] for j in near):
            raise ValueError("the map does not fit together")
        if not all(len(place) == 2 and all(isinstance(x, int | float) for x in place) for place in points["xy"]):
            raise ValueError("a point of the map has no place")
    if not all(type(i) is int and 0 <= i < count for i in named):
        raise ValueError("a sample is not there")
    explained.check(shown["explained"], count)
    return {name: shown[name] for name in _SHOWN}
