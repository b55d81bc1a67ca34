"""Threads that stay for as long as the process, each of which works alone."""

import os
from concurrent.futures import ThreadPoolExecutor

import torch

_pools: dict[int, ThreadPoolExecutor] = {}


def pool(threads: int) -> ThreadPoolExecutor:
    """So many threads, at one thread an operation each: a product on a new one takes 4 to 15 ms more (measured)."""
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads, "nearfar", torch.set_num_threads, (1,))
    return _pools[threads]


# The threads do not live on in a forked process.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)
