"""Which labels a draw gives."""

import numpy as np
import pytest

from nearfar.downstream.labels import Amount, amount, drawn, held_back
from nearfar.errors import ConfigError

LABELS = np.array([0] * 50 + [1] * 20 + [2] + [-1] * 9)
AT = np.arange(80)


def counts(labels):
    return np.bincount(labels[labels >= 0], minlength=3).tolist()


@pytest.mark.parametrize(("text", "expected"), [("10%", [5, 2, 1]), ("3", [3, 3, 1]), ("100%", [50, 20, 1])])
def test_a_class_gives_its_share_and_one_at_least(text, expected):
    shown = drawn(LABELS, AT, amount(text), 0, seed=0)
    assert counts(shown) == expected
    assert (shown[shown >= 0] == LABELS[shown >= 0]).all()


def test_more_labels_hold_the_fewer_of_the_same_draw_and_draws_differ():
    few, more = (drawn(LABELS, AT, Amount(per_class=n), 1, seed=0) >= 0 for n in (2, 6))
    assert (few <= more).all()
    assert (few != (drawn(LABELS, AT, Amount(per_class=2), 2, seed=0) >= 0)).any()


def test_a_draw_does_not_depend_on_samples_that_are_left_out():
    kept = np.delete(AT, [3, 55])
    whole = drawn(LABELS, AT, Amount(per_class=50), 0, seed=0)[kept]
    some = drawn(LABELS[kept], kept, Amount(per_class=50), 0, seed=0)
    assert (whole == some).all()


def test_a_class_of_one_sample_gives_none_back():
    rows = held_back(LABELS, AT, 0.1, seed=0)
    assert counts(LABELS[rows]) == [5, 2, 0]


@pytest.mark.parametrize("text", ["", "0", "0%", "101%", "half", "1.5", "-3"])
def test_other_amounts_are_refused(text):
    with pytest.raises(ConfigError, match="labels must be a share such as 10%"):
        amount(text)
