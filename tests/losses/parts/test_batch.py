"""What losses ask of their inputs: ranges of rows, ids and classes as small numbers."""

import pytest
import torch

from nearfar.errors import ConfigError
from nearfar.losses.parts.batch import class_numbers, group_numbers, own_rows, refuse_gathering


def test_equal_ids_get_equal_numbers_below_the_size():
    numbers = group_numbers(torch.tensor([9, -4, 9, 2**40]), 4)
    assert numbers.dtype == torch.int32
    assert numbers.tolist() == [1, 0, 1, 2]


def test_each_row_without_a_class_has_a_number_of_its_own():
    numbers = class_numbers(torch.tensor([5, -1, 5, -1, -2, -2]), 6)
    assert numbers[0] == numbers[2]
    assert numbers[4] == numbers[5]
    assert len(numbers.unique()) == 4
    assert numbers.max() < 6


@pytest.mark.parametrize(
    ("rows", "expected"), [(None, slice(0, 5)), (slice(2, None), slice(2, 5)), (slice(1), slice(0, 1))]
)
def test_rows_become_a_plain_range(rows, expected):
    assert own_rows(rows, 5) == expected


@pytest.mark.parametrize("rows", [slice(0, 6), slice(3, 2), slice(0, 4, 2), slice(-2, 5)])
def test_rows_that_are_no_range_are_refused(rows):
    with pytest.raises(ConfigError, match=r"range within 0\.\.5"):
        own_rows(rows, 5)


def test_a_loss_does_not_gather():
    refuse_gathering(False)
    with pytest.raises(ConfigError, match="gather the embeddings of all ranks"):
        refuse_gathering(True)
