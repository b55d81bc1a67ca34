"""Parts: sums that stay sums, and samples that have lost some."""

import pytest
import torch

from nearfar.contract.parts import completed, on_grid, overlaps, packed, through


def test_what_is_kept_moves_to_the_front_in_its_order():
    kept = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    found, lengths = packed(torch.tensor([7, 8, 9]), kept, -1)
    assert found.tolist() == [[7, 9, -1], [-1, -1, -1], [7, 8, 9]]
    assert lengths.tolist() == [2, 0, 3]


def test_values_of_several_axes_are_packed_alike():
    found, _ = packed(torch.arange(6).view(3, 2), torch.tensor([[False, True, True]]))
    assert found.tolist() == [[[2, 3], [4, 5], [0, 0]]]


def test_what_belongs_to_no_part_is_shared():
    terms = torch.randn(4, 3)
    found = completed(terms, torch.ones(3))
    torch.testing.assert_close(found.sum(0), torch.ones(3))
    torch.testing.assert_close(found - terms, (found - terms)[:1].expand(4, 3))


def test_terms_behind_an_affine_layer_add_up_to_its_output():
    layer, terms = torch.nn.Linear(3, 5), torch.randn(4, 3)
    torch.testing.assert_close(through(terms, layer).sum(0), layer(terms.sum(0)))


@pytest.mark.parametrize(("cells", "wanted"), [(4, 8), (7, 8), (8, 8), (14, 6), (1, 3)])
def test_overlaps_part_each_cell_wholly(cells, wanted):
    found = overlaps(cells, wanted)
    torch.testing.assert_close(found.sum(0), torch.ones(cells))
    torch.testing.assert_close(found.sum(1), torch.full((wanted,), cells / wanted))


def test_a_map_on_a_grid_keeps_its_sum_and_its_places():
    terms = torch.zeros(2, 2, 1)
    terms[1, 0] = 4
    assert on_grid(terms, (4, 4)).view(4, 4).tolist() == [[0] * 4, [0] * 4, [1, 1, 0, 0], [1, 1, 0, 0]]
    torch.testing.assert_close(on_grid(torch.ones(7, 5, 2), (4, 3)).sum(0), torch.full((2,), 35.0))
