"""The nearest and farthest columns of rows, among the pairs that count."""

import pytest
import torch

from nearfar.kernels import Pairs, extremes


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("keep", ["different", "same"])
@pytest.mark.parametrize("longest", [None, 2, 100])
def test_found_by_loops(largest, keep, longest):
    z, groups = normal(13, 4), torch.arange(13) % 4
    found = extremes(z, z, pairs=Pairs(0, groups, groups, keep), largest=largest, longest=longest)
    for i in range(13):
        counts = [j for j in range(13) if j != i and (groups[i] == groups[j]) == (keep == "same")]
        best = (max if largest else min)(counts, key=lambda j: float(z[i] @ z[j]))
        assert found.columns[i] == best
        assert found.similarities[i].item() == pytest.approx(float(z[i] @ z[best]))


def test_a_row_without_pairs_has_no_column():
    groups = torch.tensor([0, 0, 1])
    found = extremes(normal(3, 2), normal(3, 2), pairs=Pairs(0, groups, groups, "same"))
    assert found.columns.tolist() == [1, 0, -1]
    assert found.similarities[2] == -torch.inf


def test_no_columns_and_no_rows():
    assert extremes(normal(3, 2), normal(0, 2)).columns.tolist() == [-1, -1, -1]
    assert extremes(normal(0, 2), normal(3, 2)).columns.shape == (0,)


def test_gradients_do_not_pass():
    assert not extremes(normal(3, 2).requires_grad_(), normal(3, 2)).similarities.requires_grad
