"""How batches of pictures lie in memory: channels innermost, on large pages."""

import math
import mmap
from contextlib import suppress

import torch
from torch import Tensor

_PAGE = 2**21  # bytes of a large page: on small ones, the first touch of a fresh view costs more than its colours


def room(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A new tensor `shape` on the CPU, its values undefined; on large pages where it fills one and there are such."""
    count = math.prod(shape)
    pages = count * dtype.itemsize / _PAGE
    if pages >= 1 and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):
            memory = mmap.mmap(-1, math.ceil(pages) * _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            memory.madvise(mmap.MADV_HUGEPAGE)
            return torch.frombuffer(memory, dtype=dtype, count=count).view(shape)
    return torch.empty(shape, dtype=dtype)


def along(values: Tensor, width: int) -> Tensor:
    """A value for each channel `[c]` as a row of pixels `[c, 1, width]`, its channels innermost.

    With pictures that lie in memory like this, arithmetic walks whole rows, not one pixel's channels at a time.
    """
    return values.repeat(width, 1).t()[:, None]
