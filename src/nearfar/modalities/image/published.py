"""Networks that others publish, by name: timm's, torchvision's, and those of transformers in a local folder.

    timm:NAME (or the bare name)    torchvision:NAME    hf:FOLDER

What their weights were trained on is part of them: the size of the pictures, and the mean and spread that these were
normalised by.
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor, nn

from nearfar.errors import ConfigError, UnknownName, must
from nearfar.files import read_json
from nearfar.modalities import pretrained
from nearfar.modalities.image.options import ENCODERS, ImageOptions
from nearfar.modalities.image.resnet import LAYERS, STEMS, ResNet
from nearfar.options import Facts, Settling, is_number

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET_SIZE = 224
HUB = "hub"
LEAST_STEPS, SMALLEST = 100, 64


@dataclass(frozen=True)
class Inputs:
    """What weights were trained on: `size` pixels a side, where it is known, less `mean` and over `std` of [0, 1]."""

    size: int | None
    mean: Sequence[float]
    std: Sequence[float]
    source: str
    """Who says so."""


def inputs_of(encoder: str, weights: str) -> Inputs | None:
    """What the `weights` (`hub`, or a file) of an `encoder` were trained on; None where nothing says it.

    Beside a file of nearfar's own its config.json does, else the library that the network's name is of. Weights for the
    resnets that are built in come from many codes, of which nearly all normalise by ImageNet's mean and spread.
    """
    config = Path(weights).with_name("config.json")
    if weights != HUB and config.is_file() and not encoder.startswith("hf:"):
        return _of_config(config)
    kind, _, name = encoder.rpartition(":")
    if kind == "torchvision":
        return _of_torchvision(name)
    if kind == "hf":
        return _of_processor(Path(name))
    if encoder in ENCODERS and weights != HUB:
        return Inputs(None, *IMAGENET, source="ImageNet, as nearly all weights of resnets")
    return _of_timm(name)


def settle(settling: Settling[ImageOptions], encoder: str, facts: Facts) -> None:
    """Size, stem and normalisation as the weights were trained with, where nothing else was given.

    A processor gets smaller pictures where its time does not suffice for `LEAST_STEPS` of the weights' size.
    """
    assert facts.weights is not None
    found = inputs_of(encoder, facts.weights)
    if found is None:
        return
    if encoder in LAYERS and Path(facts.weights).is_file() and (first := stem_in(Path(facts.weights))) is not None:
        settling.choose("stem", first.name, "that of the weights")
        if first.name == "imagenet" and found.size is None:
            found = replace(found, size=IMAGENET_SIZE)
    if found.size is not None and settling.options.image_size is None:
        size, why = found.size, f"what the weights were trained on ({found.source})"
        if facts.device == "cpu" and facts.seconds is not None and (encoder in LAYERS or encoder not in ENCODERS):
            size, rate = _affordable(encoder, size, facts.seconds)
            if size < found.size:
                why = f"at the {found.size} px of the weights ({found.source}) it makes {rate:.1f} steps a minute here"
        settling.choose("image_size", size, why)
    settling.choose("normalise", _written(found.mean, found.std), f"what the weights were trained on ({found.source})")


def channels_of(encoder: str, channels: int) -> int:
    """The channels of its pictures: networks that take colours alone get grey pictures as such."""
    return 3 if channels == 1 and encoder.startswith(("torchvision:", "hf:")) else channels


def numbers_of(written: str, channels: int) -> tuple[list[float], list[float]]:
    """Mean and spread as `normalise` has them, for so many channels: of another number, their average each.

    Raises ConfigError.
    """
    if written == "imagenet":
        written = _written(*IMAGENET)
    try:
        mean, std = ([float(word) for word in part.split(",")] for part in written.split("/"))
        fits = len(mean) == len(std) and all(map(math.isfinite, mean)) and all(0 < value < 100 for value in std)
    except ValueError:
        fits = False
    if not fits:
        raise ConfigError(
            f"normalise must be data, imagenet or MEAN,.../STD,... (0.5,0.5,0.5/0.2,0.2,0.2), got {written!r}."
        )
    if len(mean) != channels:
        mean, std = ([sum(values) / len(values)] * channels for values in (mean, std))
    return mean, std


def _written(mean: Sequence[float], std: Sequence[float]) -> str:
    return "/".join(",".join(f"{value:.5g}" for value in values) for values in (mean, std))


def _affordable(encoder: str, size: int, seconds: float) -> tuple[int, float]:
    """The largest size, a multiple of 32, at which the time holds `LEAST_STEPS`; and the steps a minute at `size`.

    Measured by one pass of four pictures: a step of 64 takes two views of each, and a backward pass as long as two.
    """
    if encoder in LAYERS:
        network: nn.Module = ResNet(encoder, channels=3, width=64, stem="imagenet", pool="last")
    else:
        network = network_of(encoder, 3, size)[0]
    network = network.eval().to(memory_format=torch.channels_last)
    pictures = torch.zeros(4, 3, size, size).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        network(pictures)
        began = time.perf_counter()
        network(pictures)
    step = (time.perf_counter() - began) / len(pictures) * 64 * 2 * 3
    fits = size
    patch = (getattr(getattr(network, "patch_embed", None), "patch_size", None) or (32,))[0]
    smaller = patch if 32 % patch else 32  # what networks that cut into patches can take
    while fits - smaller >= SMALLEST and step * (fits / size) ** 2 * LEAST_STEPS > seconds:
        fits -= smaller
    return fits, 60 / step


class Stem(NamedTuple):
    """The first layer of a resnet."""

    name: str
    channels: int
    width: int


def stem_in(path: Path) -> Stem | None:
    """The stem of a resnet whose weights are in a file, by the shape of its first kernel; None where it has none."""
    kernels = {kernel: stem for stem, (kernel, _, _) in STEMS.items()}
    shapes = (value.shape for value in pretrained.read(path).values() if value.ndim == 4)
    first = next((shape for shape in shapes if shape[1] in (1, 3)), None)
    if first is None or first[-1] not in kernels:
        return None
    return Stem(kernels[first[-1]], first[1], first[0])


def network_of(encoder: str, channels: int, size: int, transformer: Any = None) -> tuple[nn.Module, int]:
    """A network with fresh weights, and the length of its features; raises UnknownName and ConfigError.

    `transformer` is the config of one of transformers, where it is known: the folder is not needed then.
    """
    kind, _, name = encoder.rpartition(":")
    if kind in ("torchvision", "hf"):
        must(channels == 3, f"{encoder!r} takes pictures of 3 channels", got=channels)
    if kind == "torchvision":
        return _torchvision(name)
    if kind == "hf":
        from nearfar.modalities.image.transformer import Transformer, config_of

        network = Transformer(transformer or config_of(Path(name)), size)
        return network, network.dim
    made = timm_network(name if kind == "timm" else encoder, channels, size)
    return made, timm_dim(made)


def weights_in(folder: Path) -> str | None:
    """The file of weights in a folder of transformers; None where there is none."""
    files = (folder / name for name in ("model.safetensors", "pytorch_model.bin"))
    return next((str(file) for file in files if file.is_file()), None)


def hub_weights(encoder: str, channels: int, size: int) -> dict[str, Tensor]:
    """The published weights of a network, from the library's cache or from the net; raises ConfigError."""
    kind, _, name = encoder.rpartition(":")
    try:
        if kind == "torchvision":
            from torchvision.models import get_model_weights

            found: dict[str, Tensor] = get_model_weights(name).DEFAULT.get_state_dict(progress=False, check_hash=True)
            return found
        return timm_network(name, channels, size, published=True).state_dict()
    except UnknownName:
        raise ConfigError(f"The hub has no weights for {encoder!r}: they are there for timm's names only.") from None
    except Exception as error:
        raise ConfigError(
            f"The weights of {encoder!r} could not be fetched ({type(error).__name__}: {str(error)[:200]}); "
            "give a local file: --pretrained weights.safetensors."
        ) from None


def timm_network(name: str, channels: int, size: int, *, published: bool = False) -> nn.Module:
    """timm's network of this name for pictures of this size; raises UnknownName and ConfigError."""
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise UnknownName("encoder", name, [*ENCODERS, *timm.list_models()])
    wants: dict[str, Any] = {"pretrained": published, "num_classes": 0, "in_chans": channels}
    try:
        try:
            network: nn.Module = timm.create_model(name, img_size=size, **wants)
        except TypeError:  # convolutional models take any size and no such argument
            network = timm.create_model(name, **wants)
    except Exception as error:
        if published:
            raise
        raise ConfigError(f"timm cannot make {name!r} for pictures of {size} pixels: {str(error)[:200]}") from None
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None) or (1, 1)
    must(
        size % patch[0] == 0 and size % patch[1] == 0,
        f"--image-size must be a multiple of {patch[0]} for timm's {name!r}",
        got=size,
    )
    return network


def renamed_by_timm(network: nn.Module, found: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """What timm makes of a checkpoint that a network's authors have published; as it is where timm knows no other."""
    rename = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if rename is None:
        return found
    try:
        made: Mapping[str, Tensor] = rename(dict(found), network)
    except Exception:  # of a checkpoint that it does not expect, anything may come
        return found
    own = network.state_dict()
    return max(found, made, key=lambda one: len(pretrained.fit(own, one).weights))


def timm_dim(network: Any) -> int:
    """The length of its features: some models put a layer behind their last map's channels."""
    return int(getattr(network, "head_hidden_size", None) or network.num_features)


def _torchvision(name: str) -> tuple[nn.Module, int]:
    """torchvision's network without its classifier: what stands in front of its first linear layer is the features."""
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        raise UnknownName("encoder", f"torchvision:{name}", [f"torchvision:{one}" for one in names])
    network = models.get_model(name, weights=None)
    dim, head = head_of(network, name)
    for part in head:
        network.set_submodule(part, nn.Identity())
    return network, dim


def head_of(network: nn.Module, name: str) -> tuple[int, list[str]]:
    """The length of the features of torchvision's network, and the parts behind them, from its first linear layer on.

    Raises ConfigError where there is none.
    """
    last, head = list(network.named_children())[-1]
    parts = {last: head}
    if not isinstance(head, nn.Linear):
        parts = {f"{last}.{inner}": part for inner, part in head.named_children()}
    names = list(parts)
    for at, part in enumerate(parts.values()):
        if isinstance(part, nn.Linear):
            return part.in_features, names[at:]
    raise ConfigError(f"torchvision's {name!r} does not end in a linear layer: take another network.")


def _of_timm(name: str) -> Inputs | None:
    from timm.models import get_pretrained_cfg

    found = get_pretrained_cfg(name)
    if found is None:
        return None
    return Inputs(max(found.input_size[1:]), found.mean, found.std, f"timm's {name}")


def _of_torchvision(name: str) -> Inputs | None:
    from torchvision.models import get_model_weights

    try:
        views = get_model_weights(name).DEFAULT.transforms()
    except (ValueError, AttributeError):
        return None
    return Inputs(views.crop_size[0], views.mean, views.std, f"torchvision's {name}")


def _of_config(path: Path) -> Inputs | None:
    """What a config.json says, of an encoder of nearfar or of timm."""
    try:
        config = read_json(path)
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict):
        return None
    theirs = config.get("pretrained_cfg")
    mine = theirs if isinstance(theirs, dict) else config
    size = mine.get("image_size") or (mine.get("input_size") or [None])[-1]
    mean, std = mine.get("mean"), mine.get("std")
    if not _numbers(mean) or not _numbers(std) or not isinstance(size, int):
        return None
    return Inputs(size, mean, std, str(path.name))


def _of_processor(folder: Path) -> Inputs | None:
    try:
        found = read_json(folder / "preprocessor_config.json")
    except (OSError, ValueError):
        return None
    size = found.get("crop_size") or found.get("size")
    size = next((size[key] for key in ("height", "shortest_edge") if key in size), None) if type(size) is dict else size
    mean, std = found.get("image_mean"), found.get("image_std")
    if not _numbers(mean) or not _numbers(std) or not isinstance(size, int):
        return None
    return Inputs(size, mean, std, "its preprocessor_config.json")


def _numbers(values: Any) -> TypeGuard[list[float]]:
    return isinstance(values, list) and len(values) > 0 and all(map(is_number, values))
