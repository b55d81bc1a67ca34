"""What the tests of losses share: the exact cases."""

import json
from pathlib import Path

import pytest
import torch

CASES = json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def case():
    """`case(name)`: the exact case of that name, its inputs as float64 tensors (labels as integers)."""

    def named(name):
        found = dict(CASES[name])
        found["inputs"] = {key: tensor_of(key, value) for key, value in found["inputs"].items()}
        return found

    return named


def tensor_of(key, value):
    if key in ("labels", "label"):
        return torch.tensor(value)
    if key == "angles_deg":  # points of the unit circle
        angle = torch.tensor(value, dtype=torch.float64).deg2rad()
        return torch.stack([angle.cos(), angle.sin()], dim=1)
    return torch.tensor(value, dtype=torch.float64) if isinstance(value, list) else value
