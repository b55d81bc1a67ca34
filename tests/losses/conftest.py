"""What the tests of losses share: the exact cases, and a count of the bytes that tensors take."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

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


class Peak(TorchDispatchMode):
    """The largest number of bytes of tensors made inside and alive at one time."""

    def __init__(self):
        super().__init__()
        self.alive, self.peak = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.alive[storage.data_ptr()] = (
                    torch.multiprocessing.reductions.StorageWeakRef(storage),
                    len(storage),
                )
        self.alive = {at: (ref, size) for at, (ref, size) in self.alive.items() if not ref.expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return out


@pytest.fixture
def peak_bytes():
    """`peak_bytes(f)`: the most bytes of tensors that f() makes and holds at one time."""
    # Tensors made on other threads would not be counted.
    before = torch.get_num_threads()
    torch.set_num_threads(1)

    def count(f):
        with Peak() as counter:
            f()
        return counter.peak

    yield count
    torch.set_num_threads(before)
