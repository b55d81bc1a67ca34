"""Checkpoints: all that resuming needs, as safetensors and json; whole or not there, checked by checksum."""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.contract import Encoder
from nearfar.errors import RunError
from nearfar.training.folder import write_atomically

KEPT = 2
_NAME = re.compile(r"step-(\d{9})")
_log = logging.getLogger("nearfar")


def save(
    folder: Path, step: int, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], state: Mapping[str, Any]
) -> Path:
    """Write `folder/step-<step>`; older ones are removed once it stands, but for the last two.

    Raises RunError when it cannot be written (a full disk): what was there before is still there.
    """
    place = folder / f"step-{step:09d}"
    draft = folder / f".{place.name}.draft"
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        sums = {
            name: _write(draft / name, _packed(tensors))
            for name, tensors in (("weights.safetensors", weights), ("optimizer.safetensors", optimizer))
        }
        text = json.dumps({**state, "step": step, "sha256": sums}, allow_nan=False)
        _write(draft / "state.json", text.encode("utf-8", "backslashreplace"))
        if place.exists():
            shutil.rmtree(place)
        draft.rename(place)
        _sync_folder(folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise RunError(
            f"The checkpoint of step {step} cannot be written to {str(folder)!r}: {error.strerror}. "
            "The one before it is kept; make room and go on with --resume."
        ) from None
    for old in _all(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def latest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]] | None:
    """Weights, optimiser tensors and state of the newest whole checkpoint; None when there is none.

    One that is cut short or altered is passed over for the one before it.
    """
    for place in reversed(_all(folder)):
        try:
            state = json.loads((place / "state.json").read_text(encoding="utf-8"))
            weights, optimizer = (
                _read(place / name, state["sha256"][name]) for name in ("weights.safetensors", "optimizer.safetensors")
            )
            return weights, optimizer, state
        except (OSError, ValueError, KeyError) as error:
            _log.warning("The checkpoint %s is damaged (%s); taking the one before it.", place.name, error)
    return None


def save_encoder(folder: Path, encoder: Encoder) -> None:
    """Write `folder/model.safetensors` and `folder/config.json`."""
    save_tensors(folder / "model.safetensors", encoder.state_dict())
    write_atomically(folder / "config.json", json.dumps(encoder.config, indent=2, allow_nan=False).encode() + b"\n")


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name as one safetensors file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _packed(tensors))


def load_encoder_config(folder: Path) -> dict[str, Any]:
    """The config of a saved encoder; raises RunError."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"There is no encoder in {str(folder.parent)!r}: has the run saved one yet?") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{str(folder / 'config.json')!r} cannot be read: {error}.") from None
    if not isinstance(config, dict) or "modality" not in config:
        raise RunError(f"{str(folder / 'config.json')!r} does not describe an encoder.")
    return config


def load_encoder_weights(folder: Path, encoder: nn.Module) -> None:
    """Fill `encoder` from `folder/model.safetensors`; raises RunError when it does not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / "model.safetensors"
    try:
        encoder.load_state_dict(load(path.read_bytes()))
    except (OSError, SafetensorError, RuntimeError) as error:
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
