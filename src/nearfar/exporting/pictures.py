"""Encoders of pictures in the networks of other libraries: their names, what is altered in them, and a check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.contract import Encoder
from nearfar.errors import ConfigError
from nearfar.files import write
from nearfar.modalities.adapters import merged
from nearfar.modalities.image.encoder import ImageEncoder
from nearfar.modalities.image.resnet import STEMS, ResNet
from nearfar.whitening import Whitening

WEIGHTS = "model.safetensors"
_WIDTH = 64
_MOST = 1e-3


def of_pictures(encoder: Encoder, library: str) -> ImageEncoder:
    """The encoder, where it is one that a library of networks over pictures may have; raises ConfigError."""
    if not isinstance(encoder, ImageEncoder):
        raise ConfigError(
            f"{library} has networks over pictures, and this encoder is of the kind {encoder.config['modality']}: "
            "export it --to torch, onnx or safetensors."
        )
    network = encoder.network
    if isinstance(network, ResNet):
        name = encoder.config["encoder"]
        width = network.conv1.out_channels
        reason = ""
        if len(network.stages) < 4:
            reason = f"{name} has {len(network.stages)} stages, its resnets have four"
        elif network.pool != "last":
            reason = "its features are pooled from all stages (--pool stages), those of its resnets from the last"
        elif width != _WIDTH:
            reason = f"it is {width} channels wide at first, its resnets are {_WIDTH}"
        if reason:
            raise ConfigError(f"{library} has no network like this encoder: {reason}. Export it --to torch or onnx.")
    return encoder


def architecture(encoder: ImageEncoder) -> str:
    """The name of its network without the library's."""
    return str(encoder.config["encoder"]).rpartition(":")[2]


def alter_stem(model: Any, encoder: ImageEncoder) -> list[str]:
    """Give a resnet of another library the first layers of ours; returns the code that does it, none where they are
    alike."""
    if not isinstance(encoder.network, ResNet) or encoder.config["stem"] == "imagenet":
        return []
    kernel, stride, padding = STEMS[encoder.config["stem"]]
    channels = encoder.config["channels"]
    model.conv1 = nn.Conv2d(channels, _WIDTH, kernel, stride, padding, bias=False)
    model.maxpool = nn.Identity()
    return [
        f"model.conv1 = torch.nn.Conv2d({channels}, {_WIDTH}, {kernel}, {stride}, {padding}, bias=False)",
        "model.maxpool = torch.nn.Identity()  # pictures are small: nothing is pooled after the first layer",
    ]


def weights_of(encoder: ImageEncoder, whitening: Whitening | None, head: str) -> dict[str, Tensor]:
    """The state dict of the network, with the whitening as its linear layer `head`: `(x - mean) @ matrix`."""
    found = dict(merged(encoder.network).state_dict())
    if whitening is not None:
        found[f"{head}.weight"] = whitening.matrix.T
        found[f"{head}.bias"] = -(whitening.mean.double() @ whitening.matrix.double()).to(whitening.matrix)
    return {name: one.detach().cpu().contiguous().clone() for name, one in found.items()}


def fill(model: nn.Module, weights: dict[str, Tensor], encoder: ImageEncoder, *, whitened: bool, library: str) -> str:
    """Load the weights strictly, compare the vectors, and return what to say of that; raises ConfigError."""
    name = architecture(encoder)
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{library}'s {name!r} is another network than this encoder: {reason}") from None
    size = encoder.size
    pictures = torch.randn(2, encoder.config["channels"], size, size)
    with torch.no_grad():
        wanted = encoder.vectors(pictures) if whitened else encoder.features(pictures)
        found = model.eval()(pictures)
    apart = float((found - wanted).abs().max() / wanted.std().clamp_min(1e-12)) if found.shape == wanted.shape else 1.0
    if not apart <= _MOST:
        raise ConfigError(
            f"{library}'s {name!r} takes these weights and computes other vectors than this encoder: export it --to "
            "torch or onnx."
        )
    return f"The weights load strictly into {library}'s {name}, whose vectors differ by {apart:.1e} of their spread."


def save(folder: Path, weights: dict[str, Tensor]) -> None:
    """Write the state dict."""
    from safetensors.torch import save as packed

    write(folder / WEIGHTS, packed(weights))


def inputs_of(encoder: ImageEncoder) -> dict[str, str]:
    """What the network takes."""
    return {name: one.meaning for name, one in encoder.programs(preprocessing=False)["encoder"].inputs.items()}


def loading(encoder: ImageEncoder, made: str, altered: list[str], library: str) -> str:
    """Python code that makes the network, loads the weights and uses it."""
    channels, size = encoder.config["channels"], encoder.size
    lines = [
        f"import {library}",
        "import torch",
        "from safetensors.torch import load_file",
        "",
        f"model = {made}",
        *altered,
        f'model.load_state_dict(load_file("{WEIGHTS}"), strict=True)',
        "model.eval()",
        f"pictures = torch.randn(2, {channels}, {size}, {size})  # normalised as said below",
        "vectors = model(pictures)",
    ]
    return "\n".join(lines) + "\n"
