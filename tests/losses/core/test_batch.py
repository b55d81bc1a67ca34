"""What losses ask of their inputs: ranges of rows, ids and classes as small numbers."""

import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.kernels import Ring
from nearfar.losses import clip, info_nce, nt_xent, siglip
from nearfar.losses.core.batch import anchored, class_numbers, group_numbers, own_rows


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


def test_anchors_are_rows_of_the_whole_batch_or_all_that_a_rank_has():
    assert anchored(slice(2, None), 5, None) == (5, slice(2, 5), slice(2, 5))
    ring = Ring((3, 2), 1)
    assert anchored(None, 2, ring) == anchored(slice(3, 5), 2, ring) == (5, slice(3, 5), slice(0, 2))


def test_what_does_not_fit_a_ring_is_refused():
    with pytest.raises(DataError, match="this rank's own 2, got 5"):
        anchored(None, 5, Ring((3, 2), 1))
    with pytest.raises(ConfigError, match="rows can only be this rank's own"):
        anchored(slice(0, 2), 2, Ring((3, 2), 1))
    with pytest.raises(ConfigError, match="with a ring, negatives must be None"):
        info_nce(torch.ones(2, 3), torch.ones(2, 3), negatives=torch.ones(1, 3), ring=Ring((2,), 0))
    with pytest.raises(DataError, match="The batch is empty"):
        nt_xent(torch.ones(0, 3), torch.ones(0, 3), ring=Ring((0,), 0))


@pytest.mark.parametrize(
    "loss", [nt_xent, info_nce, lambda *z, **k: clip(*z, scale=5.0, **k), lambda *z, **k: siglip(*z, bias=-1.0, **k)]
)
@pytest.mark.parametrize("ids", [None, torch.tensor([0, 1, 1, 2, 0])], ids=["plain", "ids"])
def test_on_a_ring_of_one_a_loss_is_that_of_the_batch(loss, ids):
    z = [torch.randn(5, 3, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in range(2)]
    torch.testing.assert_close(loss(*z, ids=ids, ring=Ring((5,), 0)), loss(*z, ids=ids), rtol=1e-13, atol=0)
