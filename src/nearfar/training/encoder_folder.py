"""A trained encoder in a folder of its own: `model.safetensors`, and `config.json`, which says how to build it."""

import errno
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nearfar.contract import Encoder
from nearfar.errors import RunError
from nearfar.files import read_json, write, write_json


def save_encoder(folder: Path, encoder: Encoder, *, kept: str = "") -> None:
    """Write `folder/model.safetensors` and `folder/config.json`; raises as `files.write`.

    What `config["files"]` holds by name, such as a tokenizer, is written into files of these names.
    """
    write(folder / "model.safetensors", packed(encoder.state_dict()), kept=kept)
    files = encoder.config.get("files", {})
    for name, text in files.items():
        write(folder / name, text.encode(), kept=kept)
    said = {**encoder.config, "files": list(files)} if files else encoder.config
    write_json(folder / "config.json", said, kept=kept)


def packed(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors by name as the bytes of a safetensors file."""
    from safetensors.torch import save

    return save(_apart(tensors))


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name as a safetensors file, without a copy of them in memory; raises OSError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(_apart(tensors), path)
    except SafetensorError as error:  # it hides the system's error in its text
        number = re.search(r"os error (\d+)", str(error))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from None


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors in the processor's memory, none in that of another: the file holds each by itself."""
    found, taken = dict[str, Tensor](), set[int]()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        place = value.untyped_storage().data_ptr()
        found[name] = value.clone() if place in taken else value
        taken.add(place)
    return found


def load_encoder_config(folder: Path) -> dict[str, Any]:
    """The config of a saved encoder; raises RunError."""
    try:
        config = read_json(folder / "config.json")
    except FileNotFoundError:
        raise RunError(f"There is no encoder in {str(folder.parent)!r}: has the run saved one yet?") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{str(folder / 'config.json')!r} cannot be read: {str(error)[:200]}.") from None
    if not isinstance(config, dict) or "modality" not in config:
        raise RunError(f"{str(folder / 'config.json')!r} does not describe an encoder.")
    if "files" in config:
        config["files"] = _files(folder, config["files"])
    return config


def _files(folder: Path, names: Any) -> dict[str, str]:
    if not isinstance(names, list) or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise RunError(f"{str(folder / 'config.json')!r}: files must be a list of names, got {names!r:.100}.")
    try:
        return {name: (folder / name).read_text(encoding="utf-8") for name in names}
    except (OSError, ValueError) as error:
        raise RunError(f"A file of the encoder in {str(folder)!r} cannot be read: {str(error)[:200]}.") from None


class Undrawn(TorchFunctionMode):
    """Within it, modules are made without drawing their first weights: for those whose weights come from a file."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Leave a tensor as it is instead of filling it with random numbers."""
        kwargs = kwargs or {}
        if func in _FILLS:  # with one number: `trunc_normal_` draws until all numbers lie within its bounds
            return args[0].fill_(args[1] if len(args) > 1 else kwargs.get(_FILLS[func], 0.0))
        if func in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


# Of torch.nn.init those that a mode sees as such; the others end in these two, by the name of their first number.
_FILLS: dict[Any, str] = {Tensor.uniform_: "from", Tensor.normal_: "mean"}
_DRAWS = (nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_)


def check_shapes(path: Path, make: Callable[[], nn.Module]) -> None:
    """Raise RunError where the tensors of a safetensors file are not those of what `make` makes.

    Nothing is read but the file's header, and what is made takes no memory, however large it were.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            there = {name: torch.Size(file.get_slice(name).get_shape()) for name in names}
    except Exception as error:  # of an altered file, safetensors raises its own error, OSError and others
        raise RunError(f"{str(path)!r} cannot be read: {str(error)[:300]}") from None
    try:
        with Undrawn(), torch.device("meta"):
            wanted = {name: tensor.shape for name, tensor in make().state_dict().items()}
    except RuntimeError as error:
        if "meta" in str(error):  # a network that cannot be made without memory
            return
        raise RunError(f"{str(path)!r} is not of the encoder that config.json beside it describes: {error}.") from None
    if wrong := sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name)):
        name = wrong[0]
        here, needed = ("nothing" if name not in of else str(list(of[name])) for of in (there, wanted))
        raise RunError(
            f"{str(path)!r} is not of the encoder that config.json beside it describes: it has {here} as {name!r}, "
            f"where {needed} is wanted ({len(wrong)} tensors differ)."
        )


def load_weights(path: Path, encoder: nn.Module) -> None:
    """Fill `encoder` from a safetensors file; raises RunError when it does not fit."""
    from safetensors.torch import load_file

    try:
        encoder.load_state_dict(load_file(path))
    except Exception as error:  # of an altered file, safetensors raises its own error, OSError and others
        raise RunError(f"{str(path)!r} cannot be loaded: {str(error)[:300]}") from None
