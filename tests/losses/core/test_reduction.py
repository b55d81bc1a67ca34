"""Reductions: which losses count."""

import pytest
import torch

from nearfar.losses.core.reduction import reduce

LOSSES = torch.tensor([0.0, 3.0, 0.0, 1.0, -2.0], dtype=torch.float64)


@pytest.mark.parametrize(("word", "value"), [("mean", 2 / 5), ("mean_active", 2 / 3), ("sum", 2.0)])
def test_each_word_has_its_number(word, value):
    assert reduce(LOSSES, word, 5).item() == pytest.approx(value, abs=1e-15)


def test_none_leaves_the_losses_as_they_are():
    assert reduce(LOSSES, "none", 5) is LOSSES


@pytest.mark.parametrize("active", [4, torch.tensor(4)])
def test_a_loss_of_0_may_count_where_the_number_is_given(active):
    assert reduce(LOSSES, "mean_active", 5, active).item() == pytest.approx(0.5)


@pytest.mark.parametrize("word", ["mean", "mean_active"])
def test_shares_sum_to_the_whole(word):
    shares = [reduce(part, word, 5, 3) for part in (LOSSES[:2], LOSSES[2:2], LOSSES[2:])]
    torch.testing.assert_close(sum(shares), reduce(LOSSES, word, 5))


@pytest.mark.parametrize("active", [None, 0, torch.tensor(0)])
def test_where_none_counts_the_loss_is_0_and_so_is_its_gradient(active):
    z = torch.tensor([-1.0, -2.0], requires_grad=True)
    loss = reduce(z.relu(), "mean_active", 2, active)
    loss.backward()
    assert loss.item() == 0
    assert z.grad.eq(0).all()


def test_the_mean_over_those_that_count_keeps_its_gradient_as_others_fall_to_0():
    gradients = []
    for rest in (1, 1000):
        z = torch.tensor([2.0] + [-1.0] * rest, requires_grad=True)
        reduce(z.relu(), "mean_active", len(z)).backward()
        gradients.append(z.grad[0].item())
    assert gradients == [1, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_precision_is_kept(dtype):
    assert reduce(LOSSES.to(dtype), "mean_active", 5).dtype == dtype
