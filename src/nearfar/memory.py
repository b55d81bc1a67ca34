"""How much memory is free, and what is said where it ran out."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from nearfar.errors import ConfigError, MachineError

_MANY_WEIGHTS = 2**24


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


def check_weights(count: int, cure: str, *, trained: bool = False) -> None:
    """Raise ConfigError where `count` float32 weights fit into no free memory, `trained` with gradients and momentum.

    Small numbers are not looked at. To allocate and see is no way: the system may end the process instead.
    """
    needed = count * (12 if trained else 4)
    if count > _MANY_WEIGHTS and needed > (free := available_memory()):
        what = " to be trained" if trained else ""
        raise ConfigError(
            f"{count / 1e6:,.0f} million weights need {needed / 1e9:,.0f} GB of memory{what}, and "
            f"{free / 1e9:,.0f} GB are free: give a smaller {cure}."
        )


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
