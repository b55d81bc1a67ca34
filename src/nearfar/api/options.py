"""From keywords and config files to one `TrainConfig`."""

import os
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from nearfar.config import SECTIONS, Data, Length, Model, TrainConfig
from nearfar.errors import ConfigError, UnknownName
from nearfar.methods import registry as methods
from nearfar.modalities import registry as modalities
from nearfar.options import declared
from nearfar.training.run_folder import read_config

_BEFORE = {
    "normalise": "data",
    "encoder_rate": 1.0,
    "layer_decay": 1.0,
    "freeze": 0,
    "fix_norms": False,
    "keep_start": False,
}
"""What runs did before there were these options."""
LENGTHS = tuple(field.name for field in fields(Length))


def assemble(given: Mapping[str, Any], method_options: type, modality_options: type) -> TrainConfig:
    """Put each option into its section.

    Raises UnknownName for one that no section has, ConfigError for one of another method or kind of data and for a bad
    value.
    """
    kinds = {**SECTIONS, "method_options": method_options, "modality_options": modality_options}
    declared_in = {name: (section, one) for section, kind in kinds.items() for name, one in declared(kind).items()}
    values: dict[str, dict[str, Any]] = {section: {} for section in kinds}
    for name, value in given.items():
        if name not in declared_in:
            methods.check_own(name, given.get("method") or Model.method)
            modalities.check_own(name, given.get("modality"))
            raise UnknownName("option", name, declared_in)
        if value is not None:
            section, one = declared_in[name]
            values[section][name] = one.read(value)
    return TrainConfig(**{section: kind(**values[section]) for section, kind in kinds.items()})


def from_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The options of a config.toml by name; sections serve the reader only.

    Of a run of an earlier version, options that came since are as that version did it.
    """
    found: dict[str, Any] = {}
    config = read_config(Path(path))
    if "chosen" in config:  # what a run has written, not a user
        about = config.get("data")
        kind = about.get("modality") if isinstance(about, dict) else None
        known = isinstance(kind, str) and kind in modalities.MODALITIES
        kinds = [*SECTIONS.values(), *([modalities.options(str(kind))] if known else [])]
        found = {name: value for name, value in _BEFORE.items() if any(name in declared(one) for one in kinds)}
    for name, section in config.items():
        if name == "chosen":
            continue
        if not isinstance(section, dict):
            raise ConfigError(f"{str(path)!r}: {name} stands outside of any section.")
        found.update(_of_any_kind(section) if name == "data" else section)
    if (network := found.pop("teacher_encoder", None)) is not None:  # once an option of its own
        found["teacher"] = f"{network}@{found.get('teacher')}"
    return found


def _of_any_kind(section: Mapping[str, Any]) -> dict[str, Any]:
    """The section `data` of a file, which once held options of one kind of data for runs of all kinds."""
    kind = section.get("modality")
    if not isinstance(kind, str) or kind not in modalities.MODALITIES:
        return dict(section)
    own = declared(Data).keys() | declared(modalities.options(kind)).keys()
    others = {name for other in modalities.MODALITIES for name in declared(modalities.options(other))}
    return {name: value for name, value in section.items() if name in own or name not in others}


def earlier(modality: str) -> dict[str, Any]:
    """What those options of a modality are in runs that were made before there were those options."""
    options = declared(modalities.options(modality)).items()
    return {name: one.about["before"] for name, one in options if "before" in one.about}


def overlay(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Options `given` over those of `base`; a length that is given replaces any other."""
    given = {name: value for name, value in given.items() if value is not None}
    kept = dict(base)
    if any(name in given for name in LENGTHS):
        for name in LENGTHS:
            kept.pop(name, None)
    return {**kept, **given}


def with_default_length(config: TrainConfig) -> TrainConfig:
    """Ten minutes where no length was given."""
    if all(getattr(config.length, name) is None for name in LENGTHS):
        return replace(config, length=Length(budget="10m"))
    return config


def flat(config: TrainConfig) -> dict[str, Any]:
    """Every setting in force by name, as no two have one name."""
    return {name: value for section in asdict(config).values() for name, value in section.items() if value is not None}
