"""Opening the data that an encoder is used on: its modality, its options, its splits."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nearfar.modalities import registry

if TYPE_CHECKING:
    from nearfar.contract import Encoder, Source


def open_for(encoder: "Encoder", data: str, *, least: int = 1) -> "Source":
    """`data` opened as the encoder's modality and loaded as the encoder needs it."""
    config: Mapping[str, Any] = encoder.config
    known = {name: config[name] for name in ("max_pixels", "label_column") if config.get(name) is not None}
    source: Source = registry.load(config["modality"]).open(data, least=least, **known)
    source.load(config)
    return source
