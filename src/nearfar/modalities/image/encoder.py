"""Encoders of images: a network, and how pictures become its input."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from nearfar import given
from nearfar.contract import Encoder, Map, Parts, Unreadable
from nearfar.contract.program import Program, ProgramInput
from nearfar.errors import ConfigError, DataError
from nearfar.memory import check_weights
from nearfar.modalities import pretrained
from nearfar.modalities.adapters import merged
from nearfar.modalities.image import published
from nearfar.modalities.image.decode import Encoded, decode
from nearfar.modalities.image.from_bytes import FromBytes
from nearfar.modalities.image.maps import features_and_maps_of, maps_of
from nearfar.modalities.image.memory import along
from nearfar.modalities.image.options import ENCODERS, EXTENSIONS, LARGEST, MAX_PIXELS
from nearfar.modalities.image.pictures import Pictures
from nearfar.modalities.image.resnet import LAYERS, POOLS, STEMS, ResNet
from nearfar.modalities.image.small_cnn import SmallCNN
from nearfar.modalities.image.transformer import Transformer, weights_in
from nearfar.modalities.image.views import squares
from nearfar.modalities.network import OwnNetwork
from nearfar.options import text, whole

_Network = TypeVar("_Network", bound=nn.Module)

SMALL = ("resnet8", "resnet10")
"""Resnets for processors and small pictures: a strided stem, pooled stages, and `SMALL_WIDTH` channels at first."""
SMALL_WIDTH = 32
MOST_BYTES = 8 * 2**30
"""Of one picture and its first maps: what takes more is a slip, or an altered file."""
CIFAR_STEM_UP_TO = 96
"""Images of at most this many pixels a side keep the 3x3 stem of a resnet."""


class ImageEncoder(Encoder):
    """A network over pictures `[n, channels, size, size]`, normalised by `config["mean"]` and `config["std"]`."""

    files = EXTENSIONS
    cheaper = "a smaller encoder (--width) or smaller pictures (--image-size)"

    def __init__(self, network: nn.Module, dim: int, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.dim = dim
        self.config = dict(config)
        self.size: int = config["image_size"]
        self.embed_batch = max(16, min(256, 256 * 128 * 128 // (self.size * self.size)))
        if any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
            self.optimizer = "sgd"

    def features(self, inputs: Tensor) -> Tensor:
        """Pictures `[n, channels, h, w]` to vectors `[n, dim]`."""
        return self.network(inputs.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]

    def maps(self, inputs: Tensor) -> list[Map]:
        """The map of each stage of a network that convolves, finest first; of a transformer, that of its last block."""
        found = maps_of(self.network, inputs)
        return super().maps(inputs) if found is None else found

    def features_and_maps(self, inputs: Tensor) -> tuple[Tensor, list[Map]]:
        """Vectors `[n, dim]` and the maps of the same pass."""
        found = features_and_maps_of(self.network, inputs)
        return super().features_and_maps(inputs) if found is None else found

    @torch.no_grad()
    def map_shapes(self) -> list[tuple[int, int]]:
        """Of the maps of a picture of its own size, which it looks at; raises ConfigError where there are none."""
        was_training, picture = self.training, torch.zeros(1, self.config["channels"], self.size, self.size)
        found = self.eval().maps(picture.to(self.device))
        self.train(was_training)
        return [(one.values.shape[1], one.stride) for one in found]

    def tokens(self, inputs: Tensor) -> Tensor:
        """The last vectors of a transformer's patches `[n, t, d]`, row after row."""
        network: Any = self.network
        if not hasattr(network, "forward_features") or not self._has_tokens:
            return super().tokens(inputs)
        found: Tensor = network.forward_features(inputs)
        return found.flatten(1, -2)[:, getattr(network, "num_prefix_tokens", 0) :]

    def parts(self, inputs: Tensor) -> Parts:
        """The cells of one picture, with what each adds to features that are means of maps."""
        from nearfar.modalities.image.parts import parts_of

        return parts_of(self, inputs)

    @property
    def _has_tokens(self) -> bool:
        """Whether timm's features have their channels last: a network that convolves has them first."""
        return hasattr(self.network, "num_prefix_tokens") or getattr(self.network, "output_fmt", "") == "NHWC"

    def programs(self, *, preprocessing: bool) -> dict[str, Program]:
        """Of normalised pictures `[n, channels, size, size]`, or of pictures of bytes of any height and width."""
        network, size, channels = merged(self.network), self.size, self.config["channels"]
        if preprocessing:
            bytes_ = torch.randint(0, 256, (2, channels, size + 9, size + 22), dtype=torch.uint8)
            meaning = f"pictures [n, {channels}, height, width] as bytes, of any size; their central square is seen"
            module = FromBytes(network, size, self.config["mean"], self.config["std"])
            given = ProgramInput(bytes_, {0: "batch", 2: "height", 3: "width"}, meaning)
            return {"encoder": Program(module, {"pixels": given})}
        about = f"less mean {self.config['mean']} and over std {self.config['std']}"
        meaning = f"pictures [n, {channels}, {size}, {size}] of [0, 1], {about}"
        given = ProgramInput(torch.randn(2, channels, size, size), {0: "batch"}, meaning)
        return {"encoder": Program(network, {"pictures": given})}

    def prepare(self, raw: Pictures) -> Tensor:
        """The central square of each picture, resized and normalised: `[n, channels, size, size]`."""
        pixels, aspect = raw.pixels.to(self.device), raw.aspect.to(self.device)
        stored = pixels.shape[-1]
        if stored == self.size and bool((aspect == 1).all()):
            made = pixels.to(torch.float32, copy=True)
        else:
            wide, high = (1 / aspect).clamp_max(1), aspect.clamp_max(1)
            boxes = torch.stack([(1 - wide) / 2, (1 - high) / 2, wide, high], dim=1)
            made = squares(pixels, boxes, self.size)
        return self.normalised(made)

    def whole(self, raw: Pictures) -> list[tuple[list[int], Tensor]]:
        """Each picture in its own shape, of about as many pixels as the squares that the network has learnt from.

        Sides are multiples of 32. A transformer, which takes squares alone, gets the picture squeezed into one.
        """
        squeezed = self._has_tokens or not (
            hasattr(self.network, "maps") or hasattr(self.network, "forward_intermediates")
        )
        shapes: dict[tuple[int, int], list[int]] = {}
        for i, aspect in enumerate(raw.aspect.tolist()):
            high, wide = (max(32, 32 * round(self.size * ratio / 32)) for ratio in (aspect**-0.5, aspect**0.5))
            shapes.setdefault((self.size, self.size) if squeezed else (high, wide), []).append(i)
        found = []
        for shape, members in shapes.items():
            pixels = raw.pixels[members].to(self.device).float()
            if pixels.shape[-2:] != shape:
                pixels = interpolate(pixels, shape, mode="bilinear", antialias=True)
            found.append((members, self.normalised(pixels.contiguous(memory_format=torch.channels_last))))
        return found

    def normalised(self, pixels: Tensor) -> Tensor:
        """Pixels `[n, channels, h, w]` from 0 to 255, less the mean and over the spread of the training data."""
        mean, std = (
            along(torch.tensor(self.config[name], device=pixels.device), pixels.shape[-1]) for name in ("mean", "std")
        )
        made = pixels if pixels.is_floating_point() else pixels.float()
        return made.sub_(255 * mean).div_(255 * std)

    def measure(self, raw: Pictures) -> None:
        """Learn the length of the features of a user's own network, by what it makes of real pictures."""
        assert isinstance(self.network, OwnNetwork)
        self.dim = self.config["dim"] = self.network.width(self.prepare(raw))

    def preprocess(self, inputs: Sequence[Any]) -> Tensor:
        """Paths, encoded bytes, PIL images or arrays `[h, w]`, `[h, w, c]` to `[n, channels, size, size]`.

        Arrays are uint8, unless the encoder was trained on others.

        Raises DataError naming the input that cannot be read.
        """
        channels = self.config["channels"]
        if not len(inputs):
            return torch.empty(0, channels, self.size, self.size)
        pictures = []
        for i, one in enumerate(inputs):
            name = repr(str(fspath(one))) if isinstance(one, str | PathLike) else f"Input {i}"
            try:
                square, aspect = decode(
                    _encoded(one, name, self.config),
                    size=self.config.get("stored_size") or self.size,
                    channels=channels,
                    max_pixels=self.config.get("max_pixels") or MAX_PIXELS,
                    white=self.config.get("white"),
                )
            except Unreadable as error:
                raise DataError(f"{name} cannot be read as an image: {error}.") from None
            pictures.append(Pictures(torch.from_numpy(square)[None], torch.tensor([aspect], dtype=torch.float32)))
        pixels = torch.cat([p.pixels for p in pictures])
        return self.prepare(Pictures(pixels, torch.cat([p.aspect for p in pictures])))

    def is_sample(self, inputs: Any) -> bool:
        """Whether `inputs` is one picture: a path, bytes, a PIL image, or an array of at most three axes."""
        if isinstance(inputs, str | PathLike | bytes) or hasattr(inputs, "convert"):
            return True
        return hasattr(inputs, "__array__") and np.ndim(inputs) <= 3


def build(config: Mapping[str, Any]) -> ImageEncoder:
    """The encoder that `config` describes, with fresh weights; raises ConfigError where it is none."""
    name, channels = text(config, "encoder"), whole(config, "channels")
    size = whole(config, "image_size", most=LARGEST)
    width = None if config.get("width") is None else whole(config, "width")
    _check_memory(name, size, channels, width or 64, config.get("stem"))
    network: nn.Module
    if given.is_given(name):
        network, dim = OwnNetwork(name), whole(config, "dim") if "dim" in config else 0
        if width is not None:
            raise ConfigError(f"width has no meaning for a network of one's own ({given.short(name)}).")
    elif name == "small_cnn":
        network = _fitting(lambda: SmallCNN(channels=channels, width=width or 64))
        dim = network.dim
    elif name in LAYERS:
        stem, pool = text(config, "stem", STEMS), text(config, "pool", POOLS)
        network = _fitting(lambda: ResNet(name, channels=channels, width=width or 64, stem=stem, pool=pool))
        dim = network.dim
    else:
        # First of all, it knows whether there is such a name.
        network, dim = published.network_of(name, channels, size, config.get("transformer"))
        if width is not None:
            raise ConfigError(f"width has no meaning for {name!r}; it goes with small_cnn and the resnets.")
        if isinstance(network, Transformer):
            config = {**config, "transformer": network.config}
    return ImageEncoder(network.to(memory_format=torch.channels_last), dim, config)


def _fitting(make: Callable[[], _Network]) -> _Network:
    """A network that is made only if its weights fit into memory; raises ConfigError."""
    with torch.device("meta"):
        check_weights(sum(weights.numel() for weights in make().parameters()), "width")
    return make()


def _check_memory(name: str, size: int, channels: int, width: int, stem: Any) -> None:
    """Raise ConfigError where one picture, or its first maps, take more memory than any sensible setting does."""
    side = size if name == "small_cnn" or stem == "cifar" else size // 2
    bytes_of_one = 4 * (size * size * channels + (4 * side * side * width if name in ENCODERS else 0))
    if bytes_of_one > MOST_BYTES:
        raise ConfigError(
            f"One picture of {size} x {size} pixels takes about {bytes_of_one / 2**30:.0f} GB in the encoder {name!r}, "
            f"and more than {MOST_BYTES >> 30} are refused: take a smaller image_size, or --stem imagenet."
        )


def stem_for(name: str, size: int, asked: str = "auto") -> str:
    """The stem of a resnet for pictures of `size` pixels: patch for the small ones, else cifar up to 96 px."""
    if asked != "auto":
        return asked
    if name in SMALL:
        return "patch" if size <= CIFAR_STEM_UP_TO else "imagenet"
    return "cifar" if size <= CIFAR_STEM_UP_TO else "imagenet"


def pool_for(name: str, asked: str = "auto") -> str:
    """How a resnet's features are pooled: from its stem and all stages for the small ones, else from the last."""
    if asked != "auto":
        return asked
    return "stages" if name in SMALL else "last"


def load_pretrained(encoder: ImageEncoder, source: str, *, whole: bool = False) -> list[str]:
    """Fill the network from `hub` (the library of its name) or a local file; returns the weights left as they were.

    Raises ConfigError when nothing fits, where the `whole` is asked for and something lacks, or the hub cannot be
    reached.
    """
    name = encoder.config["encoder"]
    found: Mapping[str, Tensor]
    if source == published.HUB:
        found = published.hub_weights(name, encoder.config["channels"], encoder.config["image_size"])
    elif isinstance(encoder.network, Transformer) and Path(source).parent == Path(name.removeprefix("hf:")):
        found = weights_in(Path(source).parent)
    else:
        found = published.renamed_by_timm(encoder.network, pretrained.read(Path(source)))
    how: Any = {"adapt": _adapted, "also_known_as": _IN_SEQUENCE}
    return pretrained.load(encoder.network, found, source, name, whole=whole, **how)


_IN_SEQUENCE = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""The parts of a resnet that was made a sequence of its children, as many training codes do."""


def _adapted(value: Tensor, shape: torch.Size) -> Tensor | None:
    """A weight as it is where its shape fits; of a first convolution over colours, what it makes of grey pictures."""
    if value.ndim == len(shape) == 4 and (value.shape[1], shape[1]) == (3, 1):
        value = value.sum(1, keepdim=True)
    return value if value.shape == shape else None


def _encoded(given: Any, name: str, config: Mapping[str, Any]) -> Encoded:
    """What `decode` takes, from what a user has; raises DataError."""
    if isinstance(given, str | PathLike):
        return Path(given)
    if isinstance(given, bytes | Image.Image):
        return given
    if not hasattr(given, "__array__"):
        raise DataError(f"{name} is no image: give a path, bytes, a PIL image or an array, got {type(given).__name__}.")
    array = np.asarray(given)
    if array.ndim == 3 and array.shape[2] == config["channels"] and (config.get("white") or config["channels"] > 3):
        return array  # as those that it was trained on
    if array.ndim == 2 and config.get("white") and config["channels"] == 1:
        return array
    if array.dtype != np.uint8:
        raise DataError(f"{name}: an array of pixels must be uint8, from 0 to 255, got {array.dtype}.")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not array.size or (array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (3, 4))):
        raise DataError(f"{name}: an array of pixels must be [h, w] or [h, w, c] with c 1, 3 or 4, got {array.shape}.")
    return Image.fromarray(array)
