"""How much memory is free."""

import os


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
