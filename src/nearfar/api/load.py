"""Load a trained encoder."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar import given
from nearfar.errors import ConfigError, MissingExtra, RunError

if TYPE_CHECKING:
    from torch import nn

    from nearfar.contract import Encoder


def load(path: str | os.PathLike[str], *, encoder: "nn.Module | None" = None) -> "Encoder":
    """The encoder of a run folder, or of an `encoder/` folder copied out of one, in evaluation mode on the CPU.

    Gives the same vectors, to the last bit, as the encoder that was saved. Of a run with a network of one's own,
    `encoder` is such a network: the saved weights go into a copy of it. Raises RunError where there is none, or an
    altered one. `path` may also be the name of a published encoder, as docs/pretrained.md lists them: `timm:NAME`,
    `torchvision:NAME`, `hf:NAME`, `st:FOLDER`, `static:FILE`, with `@FILE` for weights in a file and `@hub` for weights
    that may be fetched. Raises ConfigError where it is not known, or where its weights are not there.
    """
    from nearfar.modalities import registry
    from nearfar.training import encoder_folder

    if (published := registry.published(os.fspath(path))) is not None:
        return published.eval()
    folder = folder_of(path)
    config = encoder_folder.load_encoder_config(folder)
    weights = folder / "model.safetensors"
    name, own = config.get("encoder"), encoder is not None
    if given.is_given(name) != own:
        if own:
            raise ConfigError(f"The encoder of {str(path)!r} is {name!r}, none of your own: leave out encoder=.")
        raise ConfigError(
            f"The encoder of {str(path)!r} is a network of your own ({given.short(str(name))}): give one like it, "
            "nearfar.load(run, encoder=...)."
        )
    try:
        with given.holding() as hold:
            hold("encoder", encoder, name)
            encoder_folder.check_shapes(weights, lambda: restored(config))
            with encoder_folder.Undrawn():
                found = restored(config)
    except (MissingExtra, RunError):
        raise
    except Exception as error:  # an altered config may say anything
        if own and isinstance(error, ConfigError):  # it is about the network that was given
            raise
        what = str(folder / "config.json")
        raise RunError(f"{what!r} does not describe an encoder that can be made: {str(error)[:300]}") from None
    encoder_folder.load_weights(weights, found)
    return found.eval()


def load_on(
    encoder: "Encoder | str | os.PathLike[str]", device: str | None, *, compile: bool = False
) -> "tuple[Encoder, Path | None]":
    """An encoder, or that of a run folder, on the device that was asked for; and the run folder."""
    from nearfar.contract import Encoder
    from nearfar.training.automatic import device_of

    if not isinstance(encoder, str | os.PathLike | Encoder):
        more = ": give its .encoder or .path" if hasattr(encoder, "encoder") else ""
        raise ConfigError(f"The encoder must be an encoder or the folder of a run, got {type(encoder).__name__}{more}.")
    place, _ = device_of(device)
    run = Path(encoder) if isinstance(encoder, str | os.PathLike) and os.path.isdir(encoder) else None
    found = (load(encoder) if isinstance(encoder, str | os.PathLike) else encoder).to(place)
    if compile:
        found.compile()
    return found, run


def folder_of(path: str | os.PathLike[str]) -> Path:
    """The folder of the encoder of a run, or the folder itself where it is that of an encoder; raises RunError."""
    folder = Path(path)
    if folder.is_file():
        raise RunError(f"{str(path)!r} is a file. Of a file of weights, name the network: timm:NAME@{folder.name}.")
    if not folder.is_dir():
        named = " Published encoders are timm:, torchvision:, hf:, st: and static:NAME." if ":" in str(path) else ""
        raise RunError(f"There is no run folder at {str(path)!r}.{named}")
    if (folder / "encoder").is_dir():
        return folder / "encoder"
    if not (folder / "config.json").is_file():
        raise RunError(f"There is no encoder in {str(path)!r}: has the run saved one yet?")
    return folder


def restored(config: Mapping[str, Any]) -> "Encoder":
    """The encoder that `config` describes, without its weights; raises ConfigError."""
    from nearfar.modalities import registry
    from nearfar.options import text, whole
    from nearfar.whitening import Whitening

    if "seed" in config:
        whole(config, "seed", least=0)
    encoder = registry.load(text(config, "modality")).restore(config)
    if config.get("whitened"):
        encoder.output = Whitening(encoder.dim)
    return encoder
