"""An encoder as nearfar keeps it: its weights, and a config by which they are loaded."""

from __future__ import annotations

import copy
from pathlib import Path

from torch import nn

from nearfar.contract import Encoder
from nearfar.exporting.registry import WHITENING
from nearfar.exporting.written import Written
from nearfar.training.encoder_folder import save_encoder

_CODE = """\
import nearfar

encoder = nearfar.load(".")
vectors = encoder.encode([])  # of a list of samples: paths, arrays, texts, rows
"""


def write(encoder: Encoder, folder: Path, inside: frozenset[str]) -> Written:
    """Write `model.safetensors`, `config.json` and what belongs to them."""
    made = copy.deepcopy(encoder)
    if WHITENING not in inside:
        made.output = nn.Identity()
    made.config["whitened"] = WHITENING in inside
    save_encoder(folder, made)
    return Written("nearfar", _CODE, {"samples": "as nearfar.load(...).encode takes them"})
