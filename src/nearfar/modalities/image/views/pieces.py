"""Pictures on a CPU go a few at a time, on all threads: what is made of them stays in each core's cache."""

from collections.abc import Callable
from concurrent.futures import wait

import torch
from torch import Tensor

from nearfar.modalities.image.memory import room
from nearfar.threads import pool

LARGE = 128
"""Pixels a side from where a CPU makes the views of pictures one by one."""
_PIECE = 2**20
"""Numbers that the views of a piece have, about."""
_MOST = 85
"""Views that a piece has at most: with small ones, all that is made on the way to them should stay in the cache."""


def large(pictures: Tensor) -> bool:
    """Whether pictures `[b, c, h, w]` are ones that a CPU makes views of one by one."""
    return pictures.device.type == "cpu" and max(pictures.shape[-2:]) >= LARGE


def by_pieces(pictures: Tensor, size: int, work: Callable[[slice, Tensor], object]) -> Tensor:
    """What `work` makes of pictures `[b, c, h, w]`: `[b, c, size, size]` float, its channels innermost in memory.

    `work` gets some samples and the part of the result that is theirs, which it fills; another device does all at once.
    """
    b, c = pictures.shape[:2]
    if pictures.device.type != "cpu":
        made = pictures.new_empty(b, size, size, c, dtype=torch.float32).permute(0, 3, 1, 2)
        work(slice(0, b), made)
        return made
    made = room(b, size, size, c).permute(0, 3, 1, 2)
    inference = torch.is_inference_mode_enabled()  # each thread has a mode of its own

    def put(start: int) -> None:
        with torch.inference_mode(inference):
            part = slice(start, min(start + step, b))
            work(part, made[part])

    threads = torch.get_num_threads()
    step = max(1, min(_PIECE // (c * size**2), _MOST, -(-b // threads)))
    starts = iter(range(0, b, step))  # shared: each thread takes the next one

    def work_off() -> None:
        for start in starts:
            put(start)

    helpers = min(threads, -(-b // step)) - 1
    if helpers < 1:
        work_off()
        return made
    torch.set_num_threads(1)  # no piece starts a team of its own
    others = [pool(helpers).submit(work_off) for _ in range(helpers)]
    try:
        work_off()
    finally:
        wait(others)
        torch.set_num_threads(threads)
    for other in others:
        other.result()
    return made
