"""Checkpoints: all that resuming needs, as safetensors and json; whole or not there, checked by checksum."""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nearfar.contract import Encoder
from nearfar.errors import RunError
from nearfar.training.run_folder import write_atomically

KEPT = 2
_NAME = re.compile(r"step-(\d{9})")
_WEIGHTS, _OPTIMIZER, _STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
_log = logging.getLogger("nearfar")


class Saved(NamedTuple):
    """A checkpoint as it was read: tensors by name, and the plain values of the run's state."""

    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def save(
    folder: Path, step: int, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], state: Mapping[str, Any]
) -> Path:
    """Write `folder/step-<step>`; once it stands, older ones but for the last are removed, and those of later steps.

    Raises RunError when it cannot be written (a full disk): what was there before is still there.
    """
    place = folder / f"step-{step:09d}"
    draft, before = (folder / f".{place.name}{ending}.draft" for ending in ("", ".before"))
    try:
        for left in _drafts(folder):  # of a process that was killed while it wrote
            shutil.rmtree(left, ignore_errors=True)
        draft.mkdir(parents=True)
        sums = {
            name: _write(draft / name, _packed(tensors))
            for name, tensors in ((_WEIGHTS, weights), (_OPTIMIZER, optimizer))
        }
        kept = {**state, "step": step}
        text = json.dumps({**kept, "sha256": {**sums, _STATE: _sum_of(kept)}}, allow_nan=False)
        _write(draft / _STATE, text.encode())
        if place.exists():  # the same step again: out of the way in one move, so that it is never half there
            place.rename(before)
        draft.rename(place)
        _sync_folder(folder)
    except OSError as error:
        with suppress(OSError):
            if before.exists() and not place.exists():
                before.rename(place)
        shutil.rmtree(draft, ignore_errors=True)
        there = _all(folder)
        what = f"{there[-1].name} is kept; make room and go on with --resume" if there else "None was kept before it"
        raise RunError(
            f"The checkpoint of step {step} cannot be written to {str(folder)!r}: {error.strerror or error}. {what}."
        ) from None
    older = [path for path in _all(folder) if path.name < place.name]
    later = [path for path in _all(folder) if path.name > place.name]  # damaged: the run has gone back behind them
    for left in [*older[: 1 - KEPT], *later, *_drafts(folder)]:
        shutil.rmtree(left, ignore_errors=True)
    return place


def latest(folder: Path) -> Saved | None:
    """The newest whole checkpoint; None when there is none.

    One that is cut short or altered is passed over for the one before it, with a warning.
    """
    for place in reversed(_all(folder)):
        try:
            state = json.loads((place / _STATE).read_text(encoding="utf-8"))
            sums = state.pop("sha256")
            if sums[_STATE] != _sum_of(state):
                raise ValueError(f"{_STATE} does not match its checksum")
            if place.name != f"step-{state['step']:09d}":
                raise ValueError(f"it is of step {state['step']}")
            weights, optimizer = (_read(place / name, sums[name]) for name in (_WEIGHTS, _OPTIMIZER))
            return Saved(weights, optimizer, state)
        except Exception as error:  # whatever is wrong with it, the one before it is better
            _log.warning("The checkpoint %s is damaged (%s); it is passed over.", place.name, error)
    return None


def save_encoder(folder: Path, encoder: Encoder) -> None:
    """Write `folder/model.safetensors` and `folder/config.json`."""
    save_tensors(folder / "model.safetensors", encoder.state_dict())
    write_atomically(folder / "config.json", json.dumps(encoder.config, indent=2, allow_nan=False).encode() + b"\n")


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name as one safetensors file."""
    write_atomically(path, _packed(tensors))


def load_encoder_config(folder: Path) -> dict[str, Any]:
    """The config of a saved encoder; raises RunError."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"There is no encoder in {str(folder.parent)!r}: has the run saved one yet?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{str(folder / 'config.json')!r} cannot be read: {str(error)[:200]}.") from None
    if not isinstance(config, dict) or "modality" not in config:
        raise RunError(f"{str(folder / 'config.json')!r} does not describe an encoder.")
    return config


class Undrawn(TorchFunctionMode):
    """Within it, modules are made without drawing their first weights: for those whose weights come from a file."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Leave a tensor as it is instead of filling it with random numbers."""
        kwargs = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


# Of torch.nn.init those that a mode sees as such; the others end in the first two.
_DRAWS = (Tensor.uniform_, Tensor.normal_, nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_)


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


def _packed(tensors: Mapping[str, Tensor]) -> bytes:
    from safetensors.torch import save as pack

    return pack({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})


def _write(path: Path, content: bytes) -> str:
    with path.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    return hashlib.sha256(content).hexdigest()


def _read(path: Path, checksum: str) -> dict[str, Tensor]:
    from safetensors.torch import load

    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ValueError(f"{path.name} does not match its checksum")
    return load(content)


def _all(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found)


def _drafts(folder: Path) -> list[Path]:
    return list(folder.glob(".step-*.draft"))


def _sum_of(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name."""
    return dict(module.state_dict())


@torch.no_grad()
def restore_module(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Fill parameters and buffers; raises RunError when the run was of another shape."""
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise RunError(f"The checkpoint does not fit the run's settings: {str(error)[:300]}") from None
