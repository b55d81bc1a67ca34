"""Memory: how much is free, and what is said where it ran out."""

import pytest
import torch

from nearfar.errors import MachineError
from nearfar.memory import advising, available_memory


def test_some_memory_is_free_and_less_than_a_petabyte() -> None:
    assert 2**20 < available_memory() < 2**50


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."),
    ],
)
def test_memory_that_runs_out_is_said_with_advice(error: Exception) -> None:
    with pytest.raises(MachineError, match=r"^Memory ran out: take less\.$"), advising("take less"):
        raise error


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), advising("take less"):
        raise RuntimeError("shapes do not fit")
