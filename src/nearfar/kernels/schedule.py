"""In which order tiles are made, and on which threads.

Every operation on a tile runs on one thread, and threads take whole tiles: an operation shared by all threads ends in a
barrier, thousands of times in a sweep, and one thread that is kept waiting by another process then stops them all
(measured: 50 times slower on a busy machine).
"""

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch

from nearfar.threads import pool

Work = Callable[["Tile"], None]


class Tile(NamedTuple):
    """A block of rows by a block of columns; `mirrored` where its transpose stands for a second tile."""

    rows: slice
    columns: slice
    mirrored: bool

    def keys(self, symmetric: bool) -> tuple[Hashable, Hashable]:
        """The accumulators this tile adds to."""
        return ("rows", self.rows.start), ("rows" if symmetric else "columns", self.columns.start)


def square_tiles(n: int, edge: int) -> list[Tile]:
    """Each unordered pair of blocks of 0..n once; tiles near each other in the list share no block."""
    count = -(-n // edge)
    order = [(i, i) for i in range(count)]
    for apart in range(1, count):
        order += sorted(((i, i + apart) for i in range(count - apart)), key=lambda tile: (tile[0] // apart) % 2)
    return [Tile(_block(i, edge, n), _block(j, edge, n), i != j) for i, j in order]


def oblong_tiles(m: int, n: int, row_edge: int, column_edge: int) -> list[Tile]:
    """Every block of 0..m with every block of 0..n; tiles near each other in the list share no block."""
    down, across = -(-m // row_edge), -(-n // column_edge)
    order = [(i, (i + shift) % across) for shift in range(across) for i in range(down)]
    return [Tile(_block(i, row_edge, m), _block(j, column_edge, n), False) for i, j in order]


def _block(k: int, edge: int, size: int) -> slice:
    return slice(k * edge, min((k + 1) * edge, size))


def run(tiles: Sequence[Tile], workers: Sequence[Work], *, symmetric: bool) -> None:
    """Do all tiles, each worker on a thread of its own; a worker may own buffers.

    Tiles that add to the same accumulator go in the order of the list, whatever thread they are on, so that results
    do not depend on timing.
    """
    if len(workers) == 1:
        with _flushing_denormals():
            for tile in tiles:
                workers[0](tile)
        return
    queue = _OrderedQueue(tiles, symmetric)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        others = [pool(len(workers) - 1).submit(queue.work_off, work) for work in workers[1:]]
        queue.work_off(workers[0])
        for other in others:
            if not other.cancel():  # one that has not begun, as the pool serves another sweep, has nothing left to do
                other.result()
    finally:
        queue.stop()
        torch.set_num_threads(before)
    if queue.error is not None:
        raise queue.error


@contextmanager
def _flushing_denormals() -> Iterator[None]:
    """Round numbers below 1e-38 to zero on this thread, as GPUs do.

    The softmax of a trained model at a low temperature is full of them, and processors multiply them by microcode
    (measured: 100 times slower).
    """
    before = (torch.tensor(1e-40) * 1).item() == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


class _OrderedQueue:
    """Hands out tiles in order, each when the earlier ones that share an accumulator with it are done."""

    def __init__(self, tiles: Sequence[Tile], symmetric: bool):
        self.error: BaseException | None = None
        self._changed = threading.Condition()
        self._stopped = False
        self._done: dict[Hashable, int] = {}
        self._tickets = self._number(tiles, symmetric)

    @staticmethod
    def _number(tiles: Sequence[Tile], symmetric: bool) -> Iterator[tuple[Tile, dict[Hashable, int]]]:
        issued: dict[Hashable, int] = {}
        for tile in tiles:
            keys = set(tile.keys(symmetric))
            yield tile, {key: issued.get(key, 0) for key in keys}
            issued.update({key: issued.get(key, 0) + 1 for key in keys})

    def work_off(self, work: Work) -> None:
        try:
            with torch.no_grad(), _flushing_denormals():
                while (ticket := self._take()) is not None:
                    tile, turns = ticket
                    work(tile)
                    with self._changed:
                        self._done.update({key: turn + 1 for key, turn in turns.items()})
                        self._changed.notify_all()
        except BaseException as error:
            with self._changed:
                self.error = self.error or error
            self.stop()

    def _take(self) -> tuple[Tile, dict[Hashable, int]] | None:
        with self._changed:
            ticket = None if self._stopped else next(self._tickets, None)
            if ticket is None:
                return None
            turns = ticket[1]
            self._changed.wait_for(
                lambda: self._stopped or all(self._done.get(key, 0) == turn for key, turn in turns.items())
            )
            return None if self._stopped else ticket

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
