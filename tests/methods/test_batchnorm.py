"""Which samples share batch statistics: each view by itself, in groups, drawn by torch's generator."""

import pytest
import torch
from torch import nn

from nearfar.contract import Encoder, Views
from nearfar.methods.batchnorm import in_groups


class Normed(Encoder):
    """A batch norm alone: what comes out tells with whom a sample was."""

    def __init__(self):
        super().__init__()
        self.dim = 3
        self.norm = nn.BatchNorm1d(3, affine=False, eps=1e-12).double()
        self.sizes = []

    def features(self, inputs):
        self.sizes.append(len(inputs))
        return self.norm(inputs)


def views_of(x):
    return Views(lambda number, start, stop: x[number, start:stop], range(len(x)), 0, x.shape[1], wide=2)


def standardised(x):
    return (x - x.mean(0)) / x.var(0, unbiased=False).sqrt()


@pytest.fixture
def x():
    return torch.randn(2, 12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_each_view_has_its_own_statistics_of_the_whole_batch(x):
    found = in_groups(Normed(), views_of(x), 0)
    torch.testing.assert_close(found, torch.stack([standardised(view) for view in x]))


def test_groups_are_runs_of_the_batch_with_their_own_statistics(x):
    found = in_groups(Normed(), views_of(x), 4)
    expected = torch.stack([torch.cat([standardised(part) for part in view.split(4)]) for view in x])
    torch.testing.assert_close(found, expected)


def test_shuffled_groups_are_those_that_the_generator_draws(x):
    torch.manual_seed(5)
    found = in_groups(Normed(), views_of(x), 4, shuffled=True)
    torch.manual_seed(5)
    for view, seen in zip(x, found, strict=True):
        for group in torch.randperm(12).split(4):
            torch.testing.assert_close(seen[group], standardised(view[group]))


def test_shuffling_repeats_with_the_seed_and_changes_without(x):
    def draw(seed):
        torch.manual_seed(seed)
        return in_groups(Normed(), views_of(x), 4, shuffled=True)

    assert draw(1).equal(draw(1))
    assert not torch.allclose(draw(1), draw(2))


def test_without_batch_statistics_the_groups_do_not_show(x):
    encoder = Normed().eval()
    whole = in_groups(encoder, views_of(x), 0)
    torch.testing.assert_close(in_groups(encoder, views_of(x), 4, shuffled=True), whole)


@pytest.mark.parametrize(
    ("size", "splits", "groups"),
    [
        (0, True, [12]),
        (4, True, [4, 4, 4]),
        (5, True, [6, 6]),
        (7, True, [12]),
        (50, True, [12]),
        (4, False, [12]),
    ],
)
def test_groups_are_nearly_equal_and_never_smaller_than_asked(x, size, splits, groups):
    encoder = Normed()
    encoder.splits = splits
    in_groups(encoder, views_of(x[:1]), size, shuffled=True)
    assert encoder.sizes == groups


def test_gradients_reach_each_sample_through_its_own_group(x):
    leaf = x.clone().requires_grad_()
    encoder = Normed()
    in_groups(encoder, views_of(leaf), 4)[0, 0, 0].backward()
    touched = leaf.grad.abs().sum((0, 2)) > 0
    assert touched.tolist() == [True] * 4 + [False] * 8


def test_views_keep_their_numbers_in_a_group(x):
    seen = []

    class Towers(Normed):
        def forward(self, views):
            seen.append(tuple(views.numbers))
            return super().forward(views)

    in_groups(Towers(), views_of(x), 6)
    assert seen == [(0,), (0,), (1,), (1,)]
