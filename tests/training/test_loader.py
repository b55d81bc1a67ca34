"""The loader gives each step its own batch, whatever was fetched ahead."""

import threading
from typing import Any

import numpy as np
import pytest

from nearfar.contract import Rows
from nearfar.errors import DataError
from nearfar.training.loader import Loader
from nearfar.training.order import Order


class Numbers:
    """A source whose samples are their row numbers; some cannot be read."""

    def __init__(self, bad: tuple[int, ...] = ()) -> None:
        self.bad = set(bad)
        self.asked: list[list[int]] = []
        self.fetched = threading.Semaphore(0)

    def fetch(self, rows: Rows) -> tuple[Any, Rows]:
        self.asked.append(rows.tolist())
        self.fetched.release()
        kept = np.array([row for row in rows.tolist() if row not in self.bad], dtype=np.int64)
        return kept * 10, kept


def loader_of(source: Any, samples: int = 12, batch_size: int = 4) -> Loader:
    return Loader(source, Order(samples, batch_size, seed=0))


def test_steps_in_order_are_the_order_s_steps() -> None:
    order = Order(12, 4, seed=0)
    with loader_of(Numbers()) as loader:
        for step in range(7):
            raw, rows, draws = loader.get(step)
            assert rows.tolist() == order.rows(step).tolist()
            assert raw.tolist() == (10 * rows).tolist()
            assert draws.tolist() == order.draws(step).tolist()


def test_steps_out_of_order_are_right_too() -> None:
    order = Order(12, 4, seed=0)
    with loader_of(Numbers()) as loader:
        for step in (5, 0, 1, 1, 9, 2, 3):
            _, rows, draws = loader.get(step)
            assert rows.tolist() == order.rows(step).tolist()
            assert draws[0] == 4 * step


def test_the_next_step_is_fetched_meanwhile() -> None:
    source = Numbers()
    with loader_of(source) as loader:
        loader.get(0)
        both = [source.fetched.acquire(timeout=5) for _ in range(2)]
    assert both == [True, True]
    assert source.asked == [Order(12, 4, seed=0).rows(step).tolist() for step in range(2)]


def test_unreadable_rows_are_dropped_with_their_draws() -> None:
    order = Order(12, 4, seed=0)
    bad = order.rows(1)[2]
    with loader_of(Numbers(bad=(int(bad),))) as loader:
        _, rows, draws = loader.get(1)
    assert rows.tolist() == [row for row in order.rows(1).tolist() if row != bad]
    assert draws.tolist() == [4, 5, 7]


def test_an_error_of_the_source_reaches_whoever_asks() -> None:
    class Broken(Numbers):
        def fetch(self, rows: Rows) -> tuple[Any, Rows]:
            raise DataError("all is gone")

    with loader_of(Broken()) as loader, pytest.raises(DataError, match="all is gone"):
        loader.get(0)


def test_leaving_ends_the_thread() -> None:
    before = threading.active_count()
    with loader_of(Numbers()) as loader:
        loader.get(0)
    assert threading.active_count() == before
