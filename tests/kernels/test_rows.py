"""Functions of rows of similarities, block by block, equal those of the whole matrix: value, gradient."""

import pytest
import torch

from nearfar.errors import ConfigError, UnknownName
from nearfar.kernels import row_blocks, row_scores


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hinge(similarities, at, margin, own):
    """Something of every kind: a scalar and a row-wise parameter, a kink, two outputs a row."""
    over = (similarities * 2 - own[at, None] + margin).relu()
    return torch.stack([over.sum(1), over.square().mean(1) * margin], dim=1)


@pytest.mark.parametrize("longest", [1, 3, 7, 100])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (7, 5), (6, 11), (1, 9), (9, 1)])
def test_blocks_equal_the_whole(m, n, longest):
    def outcome(**options):
        leaves = [normal(m, 4), normal(n, 4, seed=1), torch.tensor(0.3).double(), normal(m, seed=2)]
        leaves = [leaf.requires_grad_() for leaf in leaves]
        out = row_scores(hinge, *leaves, **options)
        (out * normal(m, 2, seed=3)).sum().backward()
        return [out, *(leaf.grad for leaf in leaves)]

    for x, y in zip(outcome(implementation="tiled", longest=longest), outcome(implementation="dense"), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


def test_rows_that_are_the_columns_get_both_gradients():
    z = normal(9, 4).requires_grad_()
    whole, parts = (
        torch.autograd.grad(row_scores(lambda s, at: s.square().sum(1), z, z, implementation=how, longest=2).sum(), z)[
            0
        ]
        for how in ("dense", "tiled")
    )
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)


def test_gradcheck():
    leaves = [normal(5, 3), normal(4, 3, seed=1), torch.tensor(0.3).double(), normal(5, seed=2)]
    assert torch.autograd.gradcheck(
        lambda *a: row_scores(hinge, *a, implementation="tiled", longest=2), [leaf.requires_grad_() for leaf in leaves]
    )


def test_a_score_without_gradient_gives_zeros():
    z = normal(5, 3).requires_grad_()
    row_scores(lambda s, at, own: s.detach().sum(1) + own[at], z, z, z.sum(1), implementation="tiled").sum().backward()
    torch.testing.assert_close(z.grad, torch.ones_like(z))


def test_no_rows_give_no_scores():
    assert row_scores(lambda s, at: s.sum(1), normal(0, 3), normal(4, 3), implementation="tiled").shape == (0,)


def test_blocks_cover_all_rows_once_and_bound_their_entries():
    blocks = list(row_blocks(10_000, 65_536))
    assert [i for block in blocks for i in range(block.start, block.stop)] == list(range(10_000))
    assert max(block.stop - block.start for block in blocks) * 65_536 <= 2**21
    assert len(list(row_blocks(3, 2**30))) == 3


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="one width"):
        row_scores(lambda s, at: s.sum(1), normal(2, 3), normal(2, 4))
    with pytest.raises(UnknownName, match="Did you mean 'tiled'"):
        row_scores(lambda s, at: s.sum(1), normal(2, 3), normal(2, 3), implementation="tile")
