"""Threads: how they wait, how long this one has waited for a core, and those that are kept for work in pieces."""

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_LOAD, _LOOKS = Path("/proc/loadavg"), 10
_pools: dict[int, ThreadPoolExecutor] = {}


def sleep_where_busy() -> None:
    """Let the threads of an operation sleep while they wait, where others use the machine; before torch is imported.

    Spinning, as is usual, they take the cores from the threads that they wait for: with other work on two cores, two
    threads were measured five to twenty times slower. On a quiet machine sleeping costs a tenth of the speed, so there
    they are left as they are. What the user has set in the environment stays.
    """
    if not quiet():
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("KMP_BLOCKTIME", "0")


def quiet() -> bool:
    """Whether less than a quarter of the cores are used by others, by a look of some milliseconds.

    False where the system does not say.
    """
    running = []
    for _ in range(_LOOKS):
        try:
            running.append(int(_LOAD.read_text().split()[3].split("/")[0]) - 1)  # all but this thread
        except (OSError, ValueError, IndexError):
            return False
        time.sleep(0.001)
    return sum(running) / len(running) < 0.25 * (os.cpu_count() or 1)


def waited_for_core() -> float:
    """Seconds that this thread was ready to run and had no core, since it began; NaN where the system does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return math.nan


def pool(threads: int) -> ThreadPoolExecutor:
    """So many threads, at one thread an operation each: a product on a new one takes 4 to 15 ms more (measured)."""
    import torch

    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads, "nearfar", torch.set_num_threads, (1,))
    return _pools[threads]


# The threads do not live on in a forked process.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)
