"""How batches of pictures lie in memory: channels innermost, on large pages, used again and again."""

import math
import mmap
from collections import deque
from contextlib import suppress
from weakref import finalize

import numpy as np
import torch
from torch import Tensor

_PAGE = 2**21  # bytes of a large page
_free: deque[mmap.mmap] = deque(maxlen=4)  # each batch wants as much as the one before it had


def recycled(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A new tensor `shape` on the CPU, its values undefined.

    Where it fills a large page or more, it takes the memory of an earlier such tensor that is gone: the system clears
    memory that it gives out, which would cost as much as all else that is done to a view. The last four are kept.
    """
    count = math.prod(shape)
    pages = math.ceil(count * dtype.itemsize / _PAGE)
    if count * dtype.itemsize < _PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(shape, dtype=dtype)
    try:
        memory = _reused(pages * _PAGE) or _new(pages * _PAGE)
    except OSError:
        return torch.empty(shape, dtype=dtype)
    bytes_of_it = np.frombuffer(memory, dtype=np.uint8, count=count * dtype.itemsize)
    finalize(bytes_of_it, _free.append, memory).atexit = False
    return torch.from_numpy(bytes_of_it).view(dtype).view(shape)


def along(values: Tensor, width: int) -> Tensor:
    """A value for each channel `[c]` as a row of pixels `[c, 1, width]`, its channels innermost.

    With pictures that lie in memory like this, arithmetic walks whole rows, not one pixel's channels at a time.
    """
    return values.repeat(width, 1).t()[:, None]


def _reused(size: int) -> mmap.mmap | None:
    """Free memory of this size, if any; other threads may take and free some meanwhile."""
    for _ in range(len(_free)):
        with suppress(IndexError):
            memory = _free.popleft()
            if len(memory) == size:
                return memory
            _free.append(memory)
    return None


def _new(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # of a kernel without large pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
