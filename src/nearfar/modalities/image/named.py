"""Trained encoders of pictures by name alone, without data: what weights do not say of their inputs is the usual."""

import logging
from pathlib import Path
from typing import Any

from nearfar.errors import ConfigError
from nearfar.files import read_json
from nearfar.modalities import hub
from nearfar.modalities.image import at_hand
from nearfar.modalities.image import encoder as encoders
from nearfar.modalities.image import published as library
from nearfar.modalities.image.options import LARGEST, ImageOptions
from nearfar.modalities.image.resnet import LAYERS
from nearfar.modalities.image.sizes import stored_size
from nearfar.options import Facts, Settling

_SMALL_SIZE = 32
"""Side of the pictures of weights whose first layer is for small ones, where nothing says it."""
_log = logging.getLogger("nearfar")


def published(name: str, weights: str | None) -> encoders.ImageEncoder | None:
    """The encoder that a name and its weights stand for, as `Modality.published` says."""
    kind, _, place = name.rpartition(":")
    if kind == "hf":
        folder = hub.folder(place, fetch=weights == library.HUB)
        if not _sees_pictures(folder):
            return None
        return _made(f"hf:{folder}", _file_in(folder, name, weights))
    if kind not in ("", "timm", "torchvision"):
        return None
    if weights is None:
        at = at_hand.weights_of(name)
        if at is None:
            raise ConfigError(
                f"The weights of {name!r} are not on this machine: give a file of them, {name}@weights.safetensors, or "
                f"{name}@hub, which fetches them."
            )
        weights = str(at)
    if weights == library.HUB and at_hand.weights_of(name) is None:
        _log.info("the weights of %s are fetched from where its library publishes them", name)
    return _made(name, weights)


def _made(name: str, weights: str) -> encoders.ImageEncoder:
    settling = Settling(ImageOptions())
    library.settle(settling, name, Facts(samples=0, device="cpu", threads=1, weights=weights))
    stem = library.stem_in(Path(weights)) if name in LAYERS and weights != library.HUB else None
    small = settling.options.stem in ("cifar", "patch")
    settling.choose("image_size", _SMALL_SIZE if small else library.IMAGENET_SIZE, "the usual size of such networks")
    settling.choose("normalise", "imagenet", "nearly all weights were trained with it")
    options = settling.options
    assert options.image_size is not None
    config: dict[str, Any] = {
        "modality": "image",
        "encoder": name,
        "width": stem.width if stem else None,
        "channels": stem.channels if stem else 3,
        "image_size": options.image_size,
        "stored_size": stored_size(LARGEST, options.image_size, 1.0),
        "stem": encoders.stem_for(name, options.image_size, options.stem),
        "pool": encoders.pool_for(name),
        "max_pixels": options.max_pixels,
        "white": None,
    }
    made = encoders.build(config)
    made.config["mean"], made.config["std"] = library.numbers_of(str(options.normalise), config["channels"])
    encoders.load_pretrained(made, weights, whole=True)
    for choice in settling.choices:
        _log.info("  %s %s: %s", choice.name, choice.value, choice.why)
    return made


def _sees_pictures(folder: Path) -> bool:
    """Whether the network of a folder of transformers is one over pictures alone."""
    try:
        said = read_json(folder / "config.json")
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and "num_channels" in said and "vocab_size" not in said


def _file_in(folder: Path, name: str, weights: str | None) -> str:
    if weights not in (None, library.HUB):
        raise ConfigError(f"{name!r} has weights of its own: leave out @{weights}.")
    found = library.weights_in(folder)
    if found is None:
        raise ConfigError(f"{str(folder)!r} holds no weights: model.safetensors or pytorch_model.bin is wanted there.")
    return found
