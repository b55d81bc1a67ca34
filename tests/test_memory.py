"""Memory: how much is free, and what is said where it ran out."""

import ctypes
import subprocess
import sys

import pytest
import torch

from nearfar.errors import ConfigError, MachineError
from nearfar.memory import advising, available_memory, check_weights
from nearfar.modalities.image import encoder as images


def test_some_memory_is_free_and_less_than_a_petabyte() -> None:
    assert 2**20 < available_memory() < 2**50


def test_weights_that_fit_into_no_memory_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearfar.memory.available_memory", lambda: 2 * 10**9)
    check_weights(400_000_000, "width")
    with pytest.raises(ConfigError, match="400 million weights need 5 GB of memory to be trained, and 2 GB are free"):
        check_weights(400_000_000, "width", trained=True)
    with pytest.raises(ConfigError, match="give a smaller width"):
        images.build(
            {"encoder": "resnet50", "channels": 3, "width": 2048, "image_size": 32, "stem": "cifar", "pool": "last"}
        )


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


_FAULTS = """
import resource, sys, torch
from contextlib import nullcontext
from nearfar.memory import keeping_freed
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
with keeping_freed() if sys.argv[1] == "kept" else nullcontext():
    for i in range(30):
        if i == 20:
            before = faults()
        torch.ones(10_000_000)
    print(faults() - before)
before = faults()
torch.ones(10_000_000)
print(faults() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_freed_memory_is_kept_inside_and_given_back_after_it() -> None:
    run = [sys.executable, "-c", _FAULTS]
    plain, kept = (subprocess.run([*run, how], check=True, capture_output=True).stdout for how in ("plain", "kept"))
    (inside, after), (inside_kept, after_kept) = (list(map(int, found.split())) for found in (plain, kept))
    assert inside > 10 * inside_kept
    assert after_kept > 0.5 * after
