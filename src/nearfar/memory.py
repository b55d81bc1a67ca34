"""How much memory is free, and what is said where it ran out."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from nearfar.errors import MachineError


def available_memory() -> int:
    """Bytes of memory that are free for use, within the limit of a container."""
    free = 4 * 2**30
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            free = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit:
            most = limit.read().strip()
        with open("/sys/fs/cgroup/memory.current", encoding="ascii") as used:
            if most != "max":
                free = min(free, max(0, int(most) - int(used.read())))
    except (OSError, StopIteration, ValueError):
        pass
    if not os.path.exists("/proc/meminfo") and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return free


def out_of_memory(error: BaseException) -> bool:
    """Whether this is torch's, or Python's, way to say that memory ran out."""
    torchs = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or torchs


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Raise MachineError with this advice where memory runs out inside."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise MachineError(f"Memory ran out: {advice}.") from None
