"""Encoders of images: a network, and how pictures become its input."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nearfar.contract import Encoder
from nearfar.errors import ConfigError, DataError, UnknownName, must
from nearfar.modalities.image.decode import Unreadable, decode
from nearfar.modalities.image.options import ENCODERS
from nearfar.modalities.image.resnet import LAYERS, ResNet
from nearfar.modalities.image.small_cnn import SmallCNN
from nearfar.modalities.image.source import Pictures
from nearfar.modalities.image.views import resampling

CIFAR_STEM_UP_TO = 96
"""Images of at most this many pixels a side keep the 3x3 stem of a resnet."""


class ImageEncoder(Encoder):
    """A network over pictures `[n, channels, size, size]`, normalised by `config["mean"]` and `config["std"]`."""

    def __init__(self, network: nn.Module, dim: int, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.dim = dim
        self.config = dict(config)
        self.size: int = config["image_size"]

    def features(self, inputs: Tensor) -> Tensor:
        """Pictures `[n, channels, h, w]` to vectors `[n, dim]`."""
        return self.network(inputs.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]

    def prepare(self, raw: Pictures) -> Tensor:
        """The central square of each picture, resized and normalised: `[n, channels, size, size]`."""
        pixels, aspect = raw.pixels, raw.aspect.to(raw.pixels.device)
        stored = pixels.shape[-1]
        if stored == self.size and bool((aspect == 1).all()):
            squares = pixels.float()
        else:
            wide, high = (1 / aspect).clamp_max(1), aspect.clamp_max(1)
            across = resampling((1 - wide) / 2, wide, stored, self.size)
            down = resampling((1 - high) / 2, high, stored, self.size)
            b, c = pixels.shape[:2]
            rows = torch.bmm(pixels.float().view(b, c * stored, stored), across.transpose(1, 2))
            squares = torch.matmul(down[:, None], rows.view(b, c, stored, self.size)).clamp_(0, 255)
        mean = torch.tensor(self.config["mean"], device=pixels.device)[:, None, None]
        std = torch.tensor(self.config["std"], device=pixels.device)[:, None, None]
        return (squares / 255 - mean) / std

    def preprocess(self, inputs: Sequence[Any]) -> Tensor:
        """Paths, encoded bytes, PIL images or uint8 arrays `[h, w]`, `[h, w, c]` to `[n, channels, size, size]`.

        Raises DataError naming the input that cannot be read.
        """
        channels = self.config["channels"]
        pictures = []
        for i, given in enumerate(inputs):
            name = fspath(given) if isinstance(given, str | PathLike) else f"input {i}"
            try:
                square, aspect = decode(
                    _encoded(given),
                    size=self.config["stored_size"],
                    channels=channels,
                    max_pixels=self.config["max_pixels"],
                    white=self.config.get("white"),
                )
            except Unreadable as error:
                raise DataError(f"{str(name)!r} cannot be read as an image: {error}.") from None
            pictures.append(Pictures(torch.from_numpy(square)[None], torch.tensor([aspect], dtype=torch.float32)))
        pixels = torch.cat([p.pixels for p in pictures])
        return self.prepare(Pictures(pixels, torch.cat([p.aspect for p in pictures])))

    def is_sample(self, inputs: Any) -> bool:
        """Whether `inputs` is one picture: a path, bytes, a PIL image, or an array of at most three axes."""
        if isinstance(inputs, str | PathLike | bytes) or hasattr(inputs, "convert"):
            return True
        return hasattr(inputs, "__array__") and np.ndim(inputs) <= 3


def build(config: Mapping[str, Any]) -> ImageEncoder:
    """The encoder that `config` describes, with fresh weights."""
    name, channels, width = config["encoder"], config["channels"], config.get("width")
    network: nn.Module
    if name == "small_cnn":
        network = SmallCNN(channels=channels, width=width or 64)
    elif name in LAYERS:
        network = ResNet(name, channels=channels, width=width or 64, stem=config["stem"], pool=config["pool"])
    else:
        network = _timm(name, channels, config["image_size"])
        if width is not None:
            raise ConfigError(f"width has no meaning for timm's {name!r}; it goes with small_cnn and the resnets.")
    dim: int = network.dim if isinstance(network.dim, int) else 0  # type: ignore[union-attr]
    return ImageEncoder(network.to(memory_format=torch.channels_last), dim, config)


def stem_for(name: str, size: int, asked: str = "auto") -> str:
    """The stem of a resnet for pictures of `size` pixels: patch for the small ones, else cifar up to 96 px."""
    if asked != "auto":
        return asked
    if name in ("resnet8", "resnet10"):
        return "patch" if size <= CIFAR_STEM_UP_TO else "imagenet"
    return "cifar" if size <= CIFAR_STEM_UP_TO else "imagenet"


def pool_for(name: str, asked: str = "auto") -> str:
    """How a resnet's features are pooled: from its last three stages for the small ones, else from the last."""
    if asked != "auto":
        return asked
    return "stages" if name in ("resnet8", "resnet10") else "last"


def load_pretrained(encoder: ImageEncoder, source: str) -> list[str]:
    """Fill the network from `hub` (timm) or from a local file; returns the names of weights left as they were.

    Raises ConfigError when nothing fits, or the hub cannot be reached.
    """
    name = encoder.config["encoder"]
    if source == "hub":
        try:
            import timm

            state = timm.create_model(name, pretrained=True, num_classes=0).state_dict()
        except Exception as error:
            raise ConfigError(
                f"The weights of {name!r} could not be fetched ({type(error).__name__}: {str(error)[:200]}); "
                "give a local file: --pretrained weights.safetensors."
            ) from None
    else:
        state = _read_weights(Path(source))
    own = encoder.network.state_dict()
    state = {key.removeprefix("network."): value for key, value in state.items()}
    fitting = {}
    for key, value in state.items():
        if key in own and value.ndim == 4 and value.shape[1] == 3 and own[key].shape[1] == 1:
            value = value.sum(1, keepdim=True)  # grey pictures: the response to equal channels
        if key in own and own[key].shape == value.shape:
            fitting[key] = value
    left = [key for key in own if key not in fitting]
    if len(left) > len(own) / 2:
        raise ConfigError(
            f"{source!r} does not fit the encoder {name!r}: {len(fitting)} of {len(own)} weights have its names and "
            "shapes. Give the same encoder, width and stem as the file's."
        )
    encoder.network.load_state_dict(fitting, strict=False)
    return left


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ConfigError(f"--pretrained {str(path)!r} is neither 'hub' nor a file.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ConfigError(f"{str(path)!r} cannot be read as weights: {str(error)[:200]}") from None
    found = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(found, dict):
        raise ConfigError(f"{str(path)!r} holds no dictionary of weights.")
    return {str(key): value for key, value in found.items() if isinstance(value, Tensor)}


def _timm(name: str, channels: int, size: int) -> nn.Module:
    import timm

    if not timm.is_model(name):
        raise UnknownName("encoder", name, [*ENCODERS, *timm.list_models()])
    wants_size = {"img_size": size}
    try:
        network = timm.create_model(name, num_classes=0, in_chans=channels, **wants_size)
    except TypeError:  # convolutional models take any size and no such argument
        network = timm.create_model(name, num_classes=0, in_chans=channels)
    network.dim = int(network.num_features)
    if hasattr(network, "head_hidden_size") and network.head_hidden_size:
        network.dim = int(network.head_hidden_size)
    must(network.dim > 0, f"timm's {name!r} gives no features", got=network.dim)
    return network  # type: ignore[no-any-return]


def _encoded(given: Any) -> Any:
    if isinstance(given, str | PathLike):
        return Path(given)
    if hasattr(given, "__array__") and not hasattr(given, "convert"):
        from PIL import Image

        array = np.asarray(given)
        if array.dtype != np.uint8:
            raise DataError(f"An array of pixels must be uint8 [h, w] or [h, w, c], got {array.dtype}.")
        return Image.fromarray(array.squeeze(-1) if array.ndim == 3 and array.shape[2] == 1 else array)
    return given
