"""Encoders of texts by their names: made anew for data, read from where they lie, or restored from a config."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from nearfar.errors import ConfigError, UnknownName
from nearfar.modalities.text.options import ENCODERS, TextOptions
from nearfar.options import text

if TYPE_CHECKING:
    from nearfar.modalities.text.encoder import TextEncoder
    from nearfar.modalities.text.source import TextSource

_LEARNT_FROM = 100_000  # texts that a tokenizer is trained on
PREFIXES = tuple(name.partition(":")[0] for name in ENCODERS if ":" in name)

log = logging.getLogger("nearfar")


def kind_of(name: str) -> tuple[str, str]:
    """The kind of an encoder, and where it lies; raises UnknownName."""
    kind, mark, place = name.partition(":")
    if mark and kind in PREFIXES:
        if not place:
            raise ConfigError(
                f"{kind}: needs a name behind it, as in {next(n for n in ENCODERS if n.startswith(kind))}."
            )
        return kind, place
    if mark or kind not in ENCODERS:
        raise UnknownName("encoder", name, ENCODERS)
    return kind, ""


def lasting(name: str) -> str:
    """The name with an absolute path where it has one."""
    kind, place = kind_of(name)
    path = os.path.expanduser(place)
    return f"{kind}:{os.path.abspath(path)}" if place and os.path.exists(path) else name


def weights_of(name: str) -> str | None:
    """The file of weights that a name stands for, `hub` where it is a name of the hub; None where it has none."""
    from nearfar.modalities.text.folders import weights_in

    kind, place = kind_of(name)
    if not place or kind == "static":
        return place or None
    return weights_in(os.path.expanduser(place)) or "hub"


def new(name: str, source: TextSource, options: TextOptions, *, width: int | None) -> TextEncoder:
    """A new encoder for these texts, or a trained one; raises UnknownName and ConfigError."""
    kind, _ = kind_of(name)
    if kind not in ("bag", "transformer"):
        made_before = published(name, options)
        if width not in (None, made_before.dim):  # a run that such an encoder has trained names its own
            raise ConfigError(f"width has no meaning for {name!r}, whose vectors are as long as they were trained.")
        return made_before
    shared = {"modality": "text", "encoder": name, "max_length": options.max_length or 128}
    if kind == "bag":
        made = restored({**shared, "width": width or 256, "buckets": options.buckets})
        made.acquaint(source)
        made.get_parameter("weight").nearfar_tags = {"rate": options.weight_rate or 1.0}  # type: ignore[attr-defined]
        return made
    from nearfar.modalities.text.tokenizer import Tokenizer, trained
    from nearfar.modalities.text.transformer import TOKENIZER, small

    some = source.some(_LEARNT_FROM)
    tokenizer = trained(some, options.vocabulary or 8_000)
    longest = options.max_length or 128
    width = width or 256
    config = {
        **shared,
        "width": width,
        "depth": options.depth or 4,
        "vocabulary": options.vocabulary or 8_000,
        "pooling": options.pooling or "mean",
        "architecture": small(Tokenizer(tokenizer).size, width, options.depth or 4, longest),
        "files": {TOKENIZER: tokenizer},
    }
    return restored(config)


def published(name: str, options: TextOptions) -> TextEncoder:
    """The trained encoder that a name stands for, with its weights; raises ConfigError and DataError."""
    from nearfar.modalities.text import folders, static
    from nearfar.modalities.text.transformer import Transformer

    kind, place = kind_of(name)
    place = os.path.expanduser(place)
    if kind == "static":
        config, vectors = static.config_of(place, modality="text", max_length=options.max_length or 256)
        table = static.Static({**config, "encoder": name})
        with torch.no_grad():
            table.table.weight.copy_(vectors)
        return table
    recipe = folders.of_sentences(place) if kind == "st" else folders.of_transformers(place)
    network, tokenizer = folders.opened(recipe, fetch=options.fetch_weights)
    said = folders.config_of(recipe, network, tokenizer, longest=options.max_length, pooling=options.pooling)
    made = Transformer({"modality": "text", "encoder": name, **said})
    made.network.load_state_dict(network.state_dict())
    if options.lora:
        made.adapt(options.lora)
        made.config["lora"] = options.lora
    return made


def restored(config: Mapping[str, Any]) -> TextEncoder:
    """The encoder that `config` describes, its weights not yet loaded; raises ConfigError where it is none."""
    kind, _ = kind_of(text(config, "encoder"))
    if kind == "bag":
        from nearfar.modalities.text.bag import Bag

        return Bag(config)
    if kind == "static":
        from nearfar.modalities.text.static import Static

        return Static(config)
    from nearfar.modalities.text.transformer import Transformer

    return Transformer(config)
