"""The modalities there are: a name, which is also the folder's, and a line for each. Imports nothing heavy."""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from nearfar import given
from nearfar.errors import ConfigError, DataError, UnknownName
from nearfar.options import declared

if TYPE_CHECKING:
    from nearfar.contract import Encoder, Modality

MODALITIES: dict[str, str] = {
    "image": "pictures: a folder, a manifest with a column of paths, arrays, or the built-in digits",
    "text": "texts: lines of a .txt, a column of .csv, .tsv, .jsonl or .parquet, or .txt files",
    "pairs": "samples of two sides, such as pictures with texts: a manifest with a column for each side",
    "interactions": "which user had which item: a table with columns of users and items, perhaps rated, timed",
    "table": "rows of numbers and categories: .csv, .tsv, .jsonl, .parquet, .npy, .npz",
    "audio": "sounds: a folder, a manifest with a column of paths, arrays; .wav, .flac, .ogg, .mp3 and more",
}
"""In the order of `nearfar list`; those of a user stand behind."""

_USUAL = "image"  # of data that none claims: its error says what was found
_registered: dict[str, "Modality"] = {}


def register(modality: "Modality", line: str | None = None) -> "Modality":
    """Make a modality of one's own known by its name, and by `line` to `nearfar list`; returns it.

    It is then found by the data that it claims, before all others, and by `nearfar.load`. Where it is registered again,
    the last one holds. Raises ConfigError for a name that is built in.
    """
    if modality.name in MODALITIES and modality.name not in _registered:
        raise ConfigError(f"The modality {modality.name!r} is built in: give yours another name.")
    _registered[modality.name] = modality
    MODALITIES[modality.name] = line or (type(modality).__doc__ or "").strip().split("\n")[0]
    return modality


def known(name: str) -> str:
    """`name`, where a modality has it; raises UnknownName."""
    if name not in MODALITIES:
        raise UnknownName("modality", name, MODALITIES)
    return name


def load(name: str) -> "Modality":
    """A modality: `MODALITY` of the folder `nearfar/modalities/<name>/`, or one registered; raises UnknownName."""
    known(name)
    modality: Modality = _registered.get(name) or import_module(f"nearfar.modalities.{name}").MODALITY
    return modality


def find(data: str, options: Mapping[str, object] | None = None) -> str:
    """The modality of `data`: what the `options` say of it, else the first that claims it.

    The last one registered comes before those built in. Raises DataError for data of a kind that there is no modality
    for.
    """
    said = {name for name, value in (options or {}).items() if value is not None}
    for asked in reversed(MODALITIES) if said else ():
        if not said.isdisjoint(load(asked).asked_by):
            return asked
    if given.is_given(data):
        from nearfar.modalities.objects import kind_of

        return kind_of(data)
    from nearfar.data.glance import glance

    found = glance(data)
    known_kind = found.kind.name in ("", *MODALITIES)
    able = reversed(MODALITIES if known_kind else _registered)
    name = next((name for name in able if load(name).claims(found)), None)
    if name is None and not known_kind:
        more = f" {found.kind.instead}." if found.kind.instead else ""
        raise DataError(f"{data!r} holds {found.kind.holds}: nearfar has no modality for them yet.{more}")
    return name or _USUAL


def options(name: str) -> type:
    """The dataclass of a modality's options, such as `ImageOptions`, read without torch; raises UnknownName."""
    return load(name).Options


def check_own(option: str, name: str | None) -> None:
    """Raise ConfigError where other modalities have this option and the modality `name` has not."""
    if name in MODALITIES and option in declared(options(name)):
        return
    having = [other for other in MODALITIES if _has_own(other, option)]
    if having and name not in having:
        what = "give DATA or --modality" if name is None else f"leave it out for data of the kind {name}"
        raise ConfigError(f"{option} is an option of data of the kind {' and '.join(having)}: {what}.")


def _has_own(name: str, option: str) -> bool:
    """Whether a modality has this option, and has it not from those that it is made of."""
    found = declared(options(name)).get(option)
    return found is not None and not found.about.get("of_sides")


def encoders(name: str) -> dict[str, str]:
    """The encoders that a modality offers, and a line for each, read without torch; raises UnknownName."""
    return dict(load(name).encoders)


def published(name: str) -> "Encoder | None":
    """The trained encoder that a name such as `st:FOLDER` or `timm:NAME@FILE` stands for; None where it is no name.

    Raises ConfigError where the name or its weights are not known.
    """
    if os.path.exists(name) or (":" not in name and "@" not in name):
        return None
    network, weights = parted(name)
    every = (load(modality).published(network, weights) for modality in MODALITIES)
    return next((found for found in every if found is not None), None)


def parted(name: str) -> tuple[str, str | None]:
    """The name of a published encoder without its weights, and these: `timm:resnet18@w.pth`, `timm:resnet18@hub`."""
    place = name.partition(":")[2]
    if place and os.path.exists(os.path.expanduser(place)):  # a path may have such a sign
        return name, None
    network, _, weights = name.partition("@")
    return network, os.path.expanduser(weights) or None


def builtins() -> frozenset[str]:
    """The names of all data that comes with the package; `./digits` is a folder of that name."""
    return frozenset(name for modality in MODALITIES for name in load(modality).builtins)


def lasting(data: str) -> str:
    """DATA with an absolute path where it is one, so that it means the same from any folder."""
    from nearfar.data import location

    return location.lasting(data, builtins=builtins())
