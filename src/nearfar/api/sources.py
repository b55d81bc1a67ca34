"""Opening the data that an encoder is used on: its modality, its options; and listing what could not be read."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.modalities import registry

if TYPE_CHECKING:
    from nearfar.contract import Encoder, Skipped, Source


def open_for(encoder: "Encoder", data: str, *, least: int = 1, cache: str = "auto", grow: bool = True) -> "Source":
    """`data` opened as the encoder's modality and loaded as the encoder needs it.

    `cache` is `auto`, `off` or a folder; with `grow=False` it is read and nothing is added.
    """
    config: Mapping[str, Any] = encoder.config
    known = {name: config[name] for name in ("max_pixels", "label_column") if config.get(name) is not None}
    source: Source = registry.load(config["modality"]).open(data, least=least, cache=cache, grow=grow, **known)
    source.load(config)
    return source


def list_skipped(folder: Path, *sources: "Source | None", name: str = "skipped.csv") -> "list[Skipped]":
    """What could not be read so far, each sample once; written to `folder/<name>` where there is any."""
    from nearfar.data.skipped import write_skipped

    met = {one.key: one for source in sources if source is not None for one in source.skipped}
    if met:
        write_skipped(folder / name, met.values())
    return list(met.values())
