"""Checkpoints: all that resuming needs, as safetensors and JSON; written atomically, read by checksum."""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nearfar.errors import RunError
from nearfar.files import cannot_write, read_json, to_json
from nearfar.training.encoder_folder import save_tensors

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
    """Write `folder/step-<step>`, then remove older ones but for the last, and those of later steps.

    Raises MachineError or OutputError when it cannot be written (a full disk): earlier ones are still there.
    """
    place = folder / f"step-{step:09d}"
    draft, before = (folder / f".{place.name}{ending}.draft" for ending in ("", ".before"))
    try:
        for left in _drafts(folder):  # of a process that was killed while it wrote
            shutil.rmtree(left, ignore_errors=True)
        draft.mkdir(parents=True)
        sums = {
            name: _write_tensors(draft / name, tensors)
            for name, tensors in ((_WEIGHTS, weights), (_OPTIMIZER, optimizer))
        }
        kept = {**state, "step": step}
        text = to_json({**kept, "sha256": {**sums, _STATE: _sum_of(kept)}})
        with (draft / _STATE).open("wb") as handle:
            handle.write(text.encode())
            handle.flush()
            os.fsync(handle.fileno())
        if place.exists():  # the same step again
            place.rename(before)
        draft.rename(place)
        _sync_folder(folder)
    except OSError as error:
        with suppress(OSError):
            if before.exists() and not place.exists():
                before.rename(place)
        shutil.rmtree(draft, ignore_errors=True)
        there = _all(folder)
        last = f"{there[-1].name} is kept: make room" if there else "No earlier one is kept: make room"
        raise cannot_write(place, error, f"{last} and go on with --resume.") from None
    older = [path for path in _all(folder) if path.name < place.name]
    later = [path for path in _all(folder) if path.name > place.name]  # damaged: the run has gone back behind them
    for left in [*older[: 1 - KEPT], *later, *_drafts(folder)]:
        shutil.rmtree(left, ignore_errors=True)
    return place


def latest(folder: Path) -> Saved | None:
    """The newest checkpoint that is intact; None when there is none.

    One that is cut short or altered is skipped with a warning, and the one before it is taken.
    """
    for place in reversed(_all(folder)):
        try:
            state = read_json(place / _STATE)
            sums = state.pop("sha256")
            if sums[_STATE] != _sum_of(state):
                raise ValueError(f"{_STATE} does not match its checksum")
            if place.name != f"step-{state['step']:09d}":
                raise ValueError(f"it is of step {state['step']}")
            weights, optimizer = (_read(place / name, sums[name]) for name in (_WEIGHTS, _OPTIMIZER))
            return Saved(weights, optimizer, state)
        except Exception as error:  # whatever is wrong with it, the one before it is taken
            _log.warning("The checkpoint %s is damaged (%s); it is passed over.", place.name, error)
    return None


def last_step(folder: Path) -> int | None:
    """The step of the newest checkpoint by its name; None where there is none."""
    places = _all(folder)
    return int(places[-1].name.partition("-")[2]) if places else None


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write a file to the disk, and return its checksum."""
    save_tensors(path, tensors)
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())
        return hashlib.file_digest(handle, "sha256").hexdigest()


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


@torch.no_grad()
def restore_module(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Fill parameters and buffers; raises RunError when the run was of another shape."""
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise RunError(f"The checkpoint does not fit the run's settings: {str(error)[:300]}") from None
