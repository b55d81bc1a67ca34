"""Opening the data that an encoder is used on: its modality, its options; and listing what could not be read."""

from pathlib import Path
from typing import TYPE_CHECKING

from nearfar.modalities import registry
from nearfar.modalities.opening import open_source

if TYPE_CHECKING:
    from nearfar.contract import Encoder, Skipped, Source


def open_for(encoder: "Encoder", data: str, *, least: int = 1, cache: str = "auto", grow: bool = True) -> "Source":
    """`data` opened as the encoder's modality and as the encoder needs it.

    `cache` is `auto`, `off` or a folder; with `grow=False` it is read and nothing is added.
    """
    modality = registry.load(encoder.config["modality"])
    return open_source(modality, data, config=encoder.config, least=least, cache=cache, grow=grow)


def list_skipped(folder: Path, *sources: "Source | None", name: str = "skipped.csv") -> "list[Skipped]":
    """What could not be read so far, each sample once; written to `folder/<name>` where there is any."""
    from nearfar.data.skipped import write_skipped

    met = {one.key: one for source in sources if source is not None for one in source.skipped}
    if met:
        write_skipped(folder / name, met.values())
    return list(met.values())
