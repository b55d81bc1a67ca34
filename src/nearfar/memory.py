"""How much memory is free, how the allocator treats what is freed, and what is said where memory ran out."""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from nearfar.errors import ConfigError, MachineError

_MANY_WEIGHTS = 2**24
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # names of mallopt's parameters, in glibc's malloc.h
_keepers = 0
_keepers_lock = threading.Lock()


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


@contextmanager
def keeping_freed() -> Iterator[None]:
    """Inside, the process keeps the memory that it frees, and gives it back at the end; of glibc alone.

    The system hands out each page anew, filled with zeros. A training step allocates and frees the same large tensors
    over and over: without this, 15 % of its time on a processor went into such pages (MiniLM and a small ResNet).
    """
    library = _glibc()
    _count(library, 1)
    try:
        yield
    finally:
        _count(library, -1)


def _count(library: ctypes.CDLL | None, change: int) -> None:
    """One keeper more or less: the first and the last of them set the allocator."""
    global _keepers
    with _keepers_lock:
        before, _keepers = _keepers, _keepers + change
        if library is None or bool(before) == bool(_keepers):
            return
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1 if _keepers else 2**17)
        library.mallopt(_MMAP_MAX, 0 if _keepers else 2**16)
        if not _keepers:
            library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt") else None
