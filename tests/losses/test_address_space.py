"""A batch whose matrix of similarities would not fit into the memory there is."""

import subprocess
import sys

import pytest

PAIRS = 8_192
MATRIX = (2 * PAIRS) ** 2 * 4
ROOM = 200_000_000

CODE = """
import resource, sys, torch
from nearfar.losses import nt_xent
pairs, room = map(int, sys.argv[1:])
zs = [torch.randn(pairs, 32, generator=torch.Generator().manual_seed(k)).requires_grad_() for k in range(2)]
nt_xent(*(z[:64] for z in zs)).backward()
size = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (size + room, size + room))
loss = nt_xent(*zs)
loss.backward()
print(loss.item(), zs[0].grad.norm().item())
try:
    nt_xent(*zs, implementation="dense")
except (RuntimeError, MemoryError):
    print("dense: no room")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
def test_a_batch_trains_in_an_address_space_that_its_matrix_would_not_fit():
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(PAIRS), str(ROOM)], capture_output=True, text=True, check=True, timeout=300
    )
    figures, dense = done.stdout.splitlines()
    loss, gradient = map(float, figures.split())
    assert ROOM < MATRIX / 5
    assert 9 < loss < 20
    assert gradient > 0
    assert dense == "dense: no room"
