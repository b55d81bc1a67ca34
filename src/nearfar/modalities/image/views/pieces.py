"""Pictures on a CPU go a few at a time: what is made of them stays in the core's cache, large ones on all threads."""

from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager

import cv2
import torch
from torch import Tensor

from nearfar.modalities.image.memory import recycled
from nearfar.modalities.image.views.single import MOST_CHANNELS
from nearfar.threads import pool

_PIECE = 2**20
"""Numbers that the views of a piece have, about."""
_ALONE = 3 * 96**2
"""Numbers of a view up to which one thread is the quickest: a view is made so fast that threads would wait for the
interpreter's lock."""


def one_by_one(pictures: Tensor) -> bool:
    """Whether views of pictures `[b, c, h, w]` are made one at a time."""
    return pictures.device.type == "cpu" and pictures.shape[1] <= MOST_CHANNELS


def by_pieces(pictures: Tensor, size: int, work: Callable[[slice, Tensor], object]) -> Tensor:
    """What `work` makes of pictures `[b, c, h, w]`: `[b, c, size, size]` float, its channels innermost in memory.

    `work` gets some samples and the part of the result that is theirs, which it fills.
    """
    b, c = pictures.shape[:2]
    made = recycled(b, size, size, c).permute(0, 3, 1, 2)
    inference = torch.is_inference_mode_enabled()  # each thread has a mode of its own
    threads = 1 if c * size**2 <= _ALONE else torch.get_num_threads()
    step = max(1, min(_PIECE // (c * size**2), -(-b // threads)))
    starts = iter(range(0, b, step))  # shared: each thread takes the next one

    def work_off() -> None:
        with torch.inference_mode(inference):
            for start in starts:
                part = slice(start, min(start + step, b))
                work(part, made[part])

    helpers = min(threads, -(-b // step)) - 1
    with _one_thread_each():
        others = [pool(helpers).submit(work_off) for _ in range(helpers)]
        try:
            work_off()
        finally:
            wait(others)
    for other in others:
        other.result()
    return made


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """No piece starts a team of its own."""
    ours, theirs = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(ours)
        cv2.setNumThreads(theirs)
