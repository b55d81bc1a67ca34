"""An encoder as programs of ONNX, checked in onnxruntime against torch."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from nearfar.contract import Encoder
from nearfar.contract.program import Program
from nearfar.errors import ConfigError, MissingExtra
from nearfar.exporting.programs import (
    difference,
    meanings,
    others,
    preparing,
    programs_of,
    traced,
    write_files,
)
from nearfar.exporting.written import Written

VECTORS = "vectors"
MOST = 1e-2
"""Difference from torch, in units of the vectors' spread, beyond which a program is refused."""

_CODE = """\
import numpy as np
import onnxruntime

{preparing}
session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
(vectors,) = session.run(None, {{{names}}})
"""


def write(encoder: Encoder, folder: Path, inside: frozenset[str]) -> Written:
    """Write a .onnx for each program of the encoder; raises ConfigError where it has none, and MissingExtra."""
    runtime = _library()
    programs, code, notes = programs_of(encoder, inside), [], []
    for name, program in programs.items():
        file = folder / f"{name}.onnx"
        _written(program, file)
        session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        feed = {what: one.numpy() for what, one in zip(program.inputs, others(program), strict=True)}
        apart = difference(program, torch.from_numpy(session.run(None, feed)[0]))
        if not apart <= MOST:
            raise ConfigError(
                f"In onnxruntime the encoder's vectors differ by {apart:.1e} of their spread from those in torch, "
                "which is too much: export it --to torch."
            )
        notes.append(
            f"{file.name} was run by onnxruntime: for another number of samples its vectors differ from those in torch "
            f"by at most {apart:.1e} of their spread."
        )
        names = ", ".join(f'"{one}": {one}' for one in program.inputs)
        code.append(_CODE.format(preparing=preparing(program), file=file.name, names=names))
    write_files(encoder, folder)
    return Written("onnx", "\n".join(code), meanings(programs), notes)


def _written(program: Program, file: Path) -> None:
    recorded = traced(program)
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Any = torch.onnx.export(
                recorded,
                dynamo=True,
                verbose=False,
                input_names=list(program.inputs),
                output_names=[VECTORS],
                dynamic_shapes=tuple(dict(one.axes) for one in program.inputs.values()),
            )
        made.save(file)
    except Exception as error:  # of an operation that ONNX lacks, anything may come
        raise ConfigError(f"This encoder has no form in ONNX: {' '.join(str(error).split())[:300]}") from None
    finally:
        log.setLevel(level)


def _library() -> Any:
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtra("An export to ONNX", str(error.name), "onnx") from None
    return onnxruntime
