"""A ring's shares, the rule for a block of columns, and a ring of one; `tests.training.test_ranks` starts real ones."""

import pytest
import torch

from nearfar.errors import ConfigError
from nearfar.kernels import Pairs, Ring, row_lse, row_softplus


def test_a_ring_knows_whose_samples_are_whose():
    ring = Ring((6, 0, 5), 2)
    assert ring.samples == 11
    assert ring.own == ring.of(2) == slice(6, 11)
    assert ring.of(1) == slice(6, 6)
    assert ring.times(2).counts == (12, 0, 10)
    assert ring.times(2).own == slice(12, 22)


@pytest.mark.parametrize(
    "pairs",
    [
        Pairs(),
        Pairs(self_column=3),
        Pairs(row_groups=torch.tensor([0, 1]), column_groups=torch.tensor([0, 1, 2, 0, 1, 2, 3])),
        Pairs(None, torch.tensor([0, 1]), torch.tensor([0, 1, 2, 0, 1, 2, 3]), "same"),
    ],
)
def test_a_rule_for_some_columns_is_that_part_of_the_rule(pairs):
    rows = slice(0, 2)
    whole = torch.zeros(2, 7)
    pairs.rule_out(whole, rows, slice(0, 7), 1.0)
    for at in (slice(0, 3), slice(3, 5), slice(5, 5), slice(5, 7)):
        part = pairs.of_columns(at)
        part.check(2, at.stop - at.start)
        found = torch.zeros(2, at.stop - at.start)
        part.rule_out(found, rows, slice(0, at.stop - at.start), 1.0)
        assert torch.equal(found, whole[:, at])


@pytest.mark.parametrize("kernel", [row_lse, row_softplus])
def test_a_ring_of_one_is_the_plain_computation(kernel):
    a, b = (torch.randn(n, 3, generator=torch.Generator().manual_seed(n)) for n in (4, 4))
    pairs = Pairs(self_column=0)
    assert torch.equal(kernel(a, b, pairs=pairs, ring=Ring((4,), 0)), kernel(a, b, pairs=pairs))


@pytest.mark.parametrize("kernel", [row_lse, row_softplus])
def test_groups_are_those_of_all_ranks(kernel):
    rows = torch.zeros(2, 3)
    groups = torch.arange(2)
    with pytest.raises(ConfigError, match="groups must be of 2 rows and 5 columns"):
        kernel(rows, rows, pairs=Pairs(row_groups=groups, column_groups=groups), ring=Ring((2, 3), 0))
