"""Which samples make up which step: whole shuffles, keyed by the seed, with running numbers."""

import numpy as np
import pytest

from nearfar.errors import ConfigError
from nearfar.training.order import Order


def test_an_epoch_is_a_permutation() -> None:
    order = Order(24, 8, seed=0)
    rows = np.concatenate([order.rows(step) for step in range(order.steps_per_epoch)])
    assert sorted(rows.tolist()) == list(range(24))


def test_what_is_left_over_waits_for_another_shuffle() -> None:
    order = Order(23, 8, seed=0)
    epochs = [np.concatenate([order.rows(2 * epoch + i) for i in range(2)]) for epoch in range(20)]
    assert order.steps_per_epoch == 2
    assert all(len(set(rows.tolist())) == 16 for rows in epochs)
    assert set(np.concatenate(epochs).tolist()) == set(range(23))


def test_no_batch_holds_a_sample_twice() -> None:
    order = Order(11, 4, seed=3)
    assert all(len(set(order.rows(step).tolist())) == 4 for step in range(30))


def test_epochs_differ_and_so_do_seeds() -> None:
    order = Order(40, 40, seed=0)
    first = order.rows(0).tolist()
    assert order.rows(1).tolist() != first
    assert Order(40, 40, seed=1).rows(0).tolist() != first


def test_rows_are_a_function_of_seed_and_step() -> None:
    forward = [rows.tolist() for rows in map(Order(23, 8, seed=5).rows, range(9))]
    order = Order(23, 8, seed=5)
    backward = [order.rows(step).tolist() for step in reversed(range(9))]
    assert backward[::-1] == forward


def test_draws_are_running_numbers() -> None:
    order = Order(23, 8, seed=0)
    draws = np.concatenate([order.draws(step) for step in range(5)])
    assert draws.tolist() == list(range(40))


def test_steps_know_their_epoch() -> None:
    order = Order(23, 8, seed=0)
    assert [order.epoch(step) for step in range(5)] == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("size", [1, 24])
def test_a_batch_holds_two_samples_and_not_more_than_there_are(size: int) -> None:
    with pytest.raises(ConfigError, match=f"between 2 and the 23 samples, got {size}"):
        Order(23, size, seed=0)
