"""An encoder as programs of torch.export: files that need torch alone."""

from __future__ import annotations

from pathlib import Path

import torch

from nearfar.contract import Encoder
from nearfar.exporting.programs import difference, meanings, others, preparing, programs_of, traced, write_files
from nearfar.exporting.written import Written

_CODE = """\
import numpy as np
import torch

{preparing}
encoder = torch.export.load("{file}").module()
vectors = encoder({names})
"""


def write(encoder: Encoder, folder: Path, inside: frozenset[str]) -> Written:
    """Write a .pt2 for each program of the encoder; raises ConfigError where it has none."""
    programs, code, notes = programs_of(encoder, inside), [], []
    for name, program in programs.items():
        file = folder / f"{name}.pt2"
        torch.export.save(traced(program), file)
        with torch.no_grad():
            found = torch.export.load(file).module()(*others(program))
        notes.append(
            f"{file.name} was read back: for another number of samples its vectors differ from the encoder's by at "
            f"most {difference(program, found):.1e} of their spread."
        )
        names = ", ".join(f"torch.from_numpy({one})" for one in program.inputs)
        code.append(_CODE.format(preparing=preparing(program), file=file.name, names=names))
    write_files(encoder, folder)
    return Written("torch", "\n".join(code), meanings(programs), notes)
