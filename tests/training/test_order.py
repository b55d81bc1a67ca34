"""Which samples make up which step: whole shuffles, keyed by the seed, with running numbers."""

import numpy as np
import pytest

from nearfar.errors import ConfigError
from nearfar.training.order import Balanced, Labelled, Order, Streamed


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


# Streamed: shard after shard, through a shuffle buffer.

SHARDS = np.repeat(np.arange(7), [10, 3, 12, 9, 11, 1, 14])


def streamed(**more: int) -> Streamed:
    return Streamed(SHARDS, **({"batch_size": 5, "seed": 0, "buffer": 8} | more))  # type: ignore[arg-type]


def epoch_of(order: Order, epoch: int) -> list[int]:
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    return np.concatenate([order.rows(step) for step in steps]).tolist()


def test_a_streamed_epoch_reads_every_sample_once() -> None:
    rows = epoch_of(streamed(), 0)
    assert sorted(rows) == list(range(60))
    assert epoch_of(streamed(), 1) != rows


def test_a_streamed_order_goes_shard_after_shard_but_for_its_buffer() -> None:
    shards = SHARDS[epoch_of(streamed(buffer=1), 0)]
    assert int((np.diff(shards) != 0).sum()) == 6
    for first in range(0, 60, 8):  # a window holds no more shards than it would unshuffled
        assert set(SHARDS[epoch_of(streamed(), 0)][first : first + 8]) == set(shards[first : first + 8])


def test_a_buffer_shuffles_within_its_windows_only() -> None:
    plain, shuffled = epoch_of(streamed(buffer=1), 0), epoch_of(streamed(), 0)
    windows = [(plain[first : first + 8], shuffled[first : first + 8]) for first in range(0, 60, 8)]
    assert all(sorted(one) == sorted(other) for one, other in windows)
    assert plain != shuffled


def test_shards_come_in_another_order_each_epoch() -> None:
    firsts = {tuple(dict.fromkeys(SHARDS[epoch_of(streamed(buffer=1), epoch)].tolist())) for epoch in range(6)}
    assert len(firsts) == 6


def test_streamed_rows_are_a_function_of_seed_and_step() -> None:
    forward = [rows.tolist() for rows in map(streamed().rows, range(30))]
    order = streamed()
    assert [order.rows(step).tolist() for step in reversed(range(30))][::-1] == forward


def test_ranks_share_an_epoch_and_their_draws_do_not_meet() -> None:
    ranks = [streamed(rank=rank, world=3) for rank in range(3)]
    parts = [epoch_of(order, 2) for order in ranks]
    assert [len(part) for part in parts] == [20, 20, 20]
    assert sorted(row for part in parts for row in part) == list(range(60))
    draws = [draw for order in ranks for step in range(4) for draw in order.draws(step).tolist()]
    assert sorted(draws) == list(range(60))


def test_a_shard_is_read_by_one_rank_but_at_a_border() -> None:
    read = [set(SHARDS[epoch_of(streamed(rank=rank, world=3), 0)].tolist()) for rank in range(3)]
    assert sum(map(len, read)) <= 7 + 2


# Balanced: classes x samples.

LABELS = np.concatenate([np.repeat(np.arange(6), [40, 30, 20, 10, 8, 3]), [-1] * 9])


def balanced(labels: np.ndarray = LABELS, batch_size: int = 12, per_class: int = 4, seed: int = 0) -> Balanced:
    return Balanced(labels, batch_size, seed, samples_per_class=per_class)


def test_a_balanced_batch_holds_as_many_samples_of_each_of_its_classes() -> None:
    order = balanced()
    for step in range(50):
        classes, counts = np.unique(LABELS[order.rows(step)], return_counts=True)
        assert (len(classes), set(counts.tolist())) == (3, {4})


def test_all_classes_are_visited_equally_often() -> None:
    order = balanced()
    seen = np.bincount(LABELS[np.concatenate([order.rows(step) for step in range(60)])])
    assert seen.tolist() == [120] * 6


def test_a_class_left_over_waits_for_another_round() -> None:
    order = balanced(batch_size=16)  # 4 of 6 classes: one step a round
    seen = np.bincount(LABELS[np.concatenate([order.rows(step) for step in range(300)])])
    assert int(seen.sum()) == 300 * 16
    assert seen.min() > 0.85 * seen.mean()


def test_a_class_gives_all_its_samples_before_any_twice() -> None:
    order = balanced()
    rows = np.concatenate([order.rows(step) for step in range(2 * 10)])  # ten visits of each class
    assert np.bincount(rows[LABELS[rows] == 0], minlength=40)[:40].tolist() == [1] * 40


def test_a_class_with_too_few_samples_repeats_them_evenly() -> None:
    order = balanced()
    small = np.flatnonzero(LABELS == 5)
    for step in range(20):
        rows = [row for row in order.rows(step).tolist() if row in small]
        if rows:
            assert sorted(np.unique(rows, return_counts=True)[1].tolist()) == [1, 1, 2]


def test_no_sample_comes_twice_in_a_batch_where_its_class_has_enough() -> None:
    order = balanced()
    for step in range(40):
        rows = order.rows(step)
        large = rows[LABELS[rows] != 5]
        assert len(set(large.tolist())) == len(large)


def test_samples_without_a_label_are_left_out() -> None:
    order = balanced()
    assert all((LABELS[order.rows(step)] >= 0).all() for step in range(40))
    assert order.steps_per_epoch == 111 // 12


def test_few_classes_give_more_samples_each() -> None:
    order = balanced(batch_size=64)  # 6 classes, not 16
    assert (order.classes, order.samples_per_class, order.batch_size) == (6, 10, 60)
    assert np.bincount(LABELS[order.rows(3)]).tolist() == [10] * 6


def test_balanced_rows_are_a_function_of_seed_and_step() -> None:
    forward = [rows.tolist() for rows in map(balanced().rows, range(40))]
    order = balanced()
    assert [order.rows(step).tolist() for step in reversed(range(40))][::-1] == forward
    assert balanced(seed=1).rows(0).tolist() != forward[0]


@pytest.mark.parametrize(
    ("labels", "batch_size", "said"),
    [(np.zeros(9, dtype=np.int64), 8, "at least 2 classes, got 1"), (LABELS, 6, "must be at least 8: 2 classes of 4")],
)
def test_what_cannot_be_balanced_is_refused(labels: np.ndarray, batch_size: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        balanced(labels, batch_size)


def test_labelled_samples_alone_are_met_each_once_an_epoch() -> None:
    labels = np.array([0, -1, 1, 1, -1, 0, 2, -1, 0])
    order = Labelled(labels, 2, seed=0)
    for epoch in range(5):
        rows = np.concatenate([order.rows(epoch * order.steps_per_epoch + step) for step in range(3)])
        assert sorted(rows.tolist()) == [0, 2, 3, 5, 6, 8]


def test_a_batch_is_never_more_than_the_labelled_samples() -> None:
    order = Labelled(np.array([0, -1, 1, 1]), 64, seed=0)
    assert order.batch_size == 3
    assert sorted(order.rows(7).tolist()) == [0, 2, 3]
