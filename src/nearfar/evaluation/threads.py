"""One thread for small work.

Small products and reductions take microseconds; on a machine with other work, threads that wait for each other
thousands of times were measured 15 to 20 times slower than one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch


@contextmanager
def one_thread(when: bool) -> Iterator[None]:
    """Hold torch and scipy's BLAS at one thread inside, `when` true; what was set before comes back."""
    if not when:
        yield
        return
    before = torch.get_num_threads()
    with _blas().limit(limits=1, user_api="blas"):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@cache
def _blas() -> Any:
    """Find the thread pools of scipy's BLAS, once: L-BFGS-B's own vector arithmetic runs there."""
    import scipy.optimize  # noqa: F401  (it must be loaded to be found)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
