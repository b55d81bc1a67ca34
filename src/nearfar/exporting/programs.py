"""Encoders as programs: the networks of an encoder with what goes inside, traced by torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from nearfar.contract import Encoder
from nearfar.contract.program import Behind, Program
from nearfar.errors import ConfigError
from nearfar.exporting.registry import PREPROCESSING, WHITENING
from nearfar.files import write


def programs_of(encoder: Encoder, inside: frozenset[str]) -> dict[str, Program]:
    """The programs of an encoder in evaluation mode, by names for their files; raises ConfigError."""
    found = encoder.programs(preprocessing=PREPROCESSING in inside)
    last = [encoder.output] if WHITENING in inside else []
    return {name: replace(one, module=Behind(one.module, *last).eval()) for name, one in found.items()}


def traced(program: Program) -> torch.export.ExportedProgram:
    """The program as torch.export records it; raises ConfigError where it cannot."""
    examples = tuple(one.example for one in program.inputs.values())
    axes = tuple(dict.fromkeys(one.axes, torch.export.Dim.DYNAMIC) for one in program.inputs.values())
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(program.module, examples, dynamic_shapes=(axes,))
    except Exception as error:  # of a network that does what cannot be traced, anything may come
        raise ConfigError(f"torch.export cannot trace this encoder: {' '.join(str(error).split())[:300]}") from None


def others(program: Program) -> tuple[Tensor, ...]:
    """Inputs of another number of samples than those that were traced."""
    return tuple(torch.cat([one.example, one.example]) for one in program.inputs.values())


def difference(program: Program, found: Tensor) -> float:
    """The largest difference of vectors of `others` from those of the encoder, in units of their spread."""
    with torch.no_grad():
        wanted = program.module(*others(program))
    return float((found - wanted).abs().max() / wanted.std().clamp_min(1e-12))


def write_files(encoder: Encoder, folder: Path) -> None:
    """Write what belongs to the inputs of an encoder, such as a tokenizer."""
    for name, text in encoder.config.get("files", {}).items():
        write(folder / name, text.encode())


def meanings(programs: Mapping[str, Program]) -> dict[str, str]:
    """What the inputs of programs are, by their names."""
    return {
        (f"{name}: {what}" if len(programs) > 1 else what): one.meaning
        for name, program in programs.items()
        for what, one in program.inputs.items()
    }


def preparing(program: Program) -> str:
    """Python code that makes inputs of the program as numpy arrays."""
    if program.preparing:
        return program.preparing
    lines = []
    for name, one in program.inputs.items():
        shape = tuple(one.example.shape)
        if one.example.is_floating_point():
            lines.append(f"{name} = np.random.standard_normal({shape}).astype(np.float32)")
        elif one.example.dtype == torch.uint8:
            lines.append(f"{name} = np.random.randint(0, 256, {shape}, dtype=np.uint8)")
        else:
            lines.append(f"{name} = np.array({one.example.tolist()})")
    return "\n".join(lines) + "\n"
