"""An encoder of pictures as the state dict of torchvision's own network; a whitening is its last layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from nearfar.contract import Encoder
from nearfar.errors import ConfigError
from nearfar.exporting import pictures
from nearfar.exporting.registry import WHITENING
from nearfar.exporting.written import Written
from nearfar.modalities.image.published import head_of
from nearfar.whitening import Whitening


def write(encoder: Encoder, folder: Path, inside: frozenset[str]) -> Written:
    """Write `model.safetensors`; raises ConfigError for what torchvision has not."""
    from torchvision import models

    found = pictures.of_pictures(encoder, "torchvision")
    name = pictures.architecture(found)
    if name not in models.list_models(module=models):
        raise ConfigError(f"torchvision has no network {name!r}: export it --to torch, onnx or safetensors.")
    if found.config["channels"] != 3 and found.config.get("stem") == "imagenet":
        raise ConfigError(
            f"torchvision's networks take pictures of 3 channels, this encoder {found.config['channels']}: export it "
            "--to timm, torch or onnx."
        )
    whitening = found.output if WHITENING in inside and isinstance(found.output, Whitening) else None
    with torch.random.fork_rng():
        model: Any = models.get_model(name, weights=None)
    altered = pictures.alter_stem(model, found)
    dim, head = head_of(model, name)
    for at, part in enumerate(head):
        last = at == 0 and whitening is not None
        model.set_submodule(part, nn.Linear(dim, dim) if last else nn.Identity())
        code = f"torch.nn.Linear({dim}, {dim})" if last else "torch.nn.Identity()"
        altered.append(f'model.set_submodule("{part}", {code})' + ("  # the whitening" if last else ""))
    weights = pictures.weights_of(found, whitening, head[0])
    checked = pictures.fill(model, weights, found, whitened=whitening is not None, library="torchvision")
    pictures.save(folder, weights)
    made = f'torchvision.models.get_model("{name}", weights=None)'
    return Written(
        "torchvision", pictures.loading(found, made, altered, "torchvision"), pictures.inputs_of(found), [checked]
    )
