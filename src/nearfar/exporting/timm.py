"""An encoder of pictures as the state dict of timm's own network; a whitening becomes its classifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from nearfar.contract import Encoder
from nearfar.errors import ConfigError
from nearfar.exporting import pictures
from nearfar.exporting.registry import WHITENING
from nearfar.exporting.written import Written
from nearfar.files import write as write_file
from nearfar.modalities.image.encoder import ImageEncoder
from nearfar.whitening import Whitening


def write(encoder: Encoder, folder: Path, inside: frozenset[str]) -> Written:
    """Write `model.safetensors`, and `config.json` as timm has it; raises ConfigError for what timm has not."""
    import timm

    found = pictures.of_pictures(encoder, "timm")
    name = pictures.architecture(found)
    if not timm.is_model(name.partition(".")[0]):
        raise ConfigError(f"timm has no network {name!r}: export it --to torch, onnx or safetensors.")
    whitening = found.output if WHITENING in inside and isinstance(found.output, Whitening) else None
    wants: dict[str, Any] = {
        "num_classes": found.dim if whitening is not None else 0,
        "in_chans": found.config["channels"],
    }
    model: Any
    with torch.random.fork_rng():
        try:
            model = timm.create_model(name, **wants, img_size=found.size)
            wants["img_size"] = found.size
        except TypeError:  # convolutional models take any size and no such argument
            model = timm.create_model(name, **wants)
    altered = pictures.alter_stem(model, found)
    head = ""
    if whitening is not None:
        head = next((at for at, part in model.named_modules() if part is model.get_classifier()), "")
    weights = pictures.weights_of(found, whitening, head)
    checked = pictures.fill(model, weights, found, whitened=whitening is not None, library="timm")
    pictures.save(folder, weights)
    if not altered:
        write_file(folder / "config.json", json.dumps(_config(found, name, wants), indent=2).encode())
    made = f"timm.create_model({', '.join([repr(name), *(f'{k}={v}' for k, v in wants.items())])})"
    notes = [checked]
    if whitening is not None:
        notes.append(f"The whitening is the network's classifier ({head}): without it, num_classes=0.")
    return Written("timm", pictures.loading(found, made, altered, "timm"), pictures.inputs_of(found), notes)


def _config(encoder: ImageEncoder, name: str, wants: dict[str, Any]) -> dict[str, Any]:
    """What `timm.create_model("local-dir:FOLDER", pretrained=True)` reads."""
    size, classes = encoder.size, wants["num_classes"]
    return {
        "architecture": name.partition(".")[0],
        "num_classes": classes,
        "num_features": encoder.dim,
        "pretrained_cfg": {
            "input_size": [encoder.config["channels"], size, size],
            "mean": encoder.config["mean"],
            "std": encoder.config["std"],
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "num_classes": classes,
        },
        "model_args": {name: one for name, one in wants.items() if name in ("in_chans", "img_size")},
    }
