"""BPR: the published value, loops, closed forms, the worst pairs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.losses import bpr

ONE_OR_MORE = pytest.mark.parametrize("shape", [(6, 4), (6, 1, 4), (6, 3, 4)], ids=["one", "K=1", "K=3"])


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def by_loops(u, p, n):
    """The mean over users and negatives of -log of a sigmoid, one after the other."""
    n = n.unsqueeze(1) if n.dim() == 2 else n
    terms = []
    for user, own, others in zip(u.tolist(), p.tolist(), n.tolist(), strict=True):
        for other in others:
            x = sum(a * (b - c) for a, b, c in zip(user, own, other, strict=True))
            terms.append(-math.log(1 / (1 + math.exp(-x))))
    return sum(terms) / len(terms)


def test_published_value(case):
    known = case("bpr")
    u, p, n = (known["inputs"][key] for key in ("user", "pos", "neg"))
    assert bpr(u, p, n).item() == pytest.approx(known["value"], abs=1e-15)
    assert bpr(u, p, n).item() != pytest.approx(known["selfrec_value"], abs=1e-6)  # a constant inside the log


@ONE_OR_MORE
def test_value_by_loops(shape):
    u, p, n = normal(6, 4), normal(6, 4, seed=1), normal(*shape, seed=2)
    assert bpr(u, p, n).item() == pytest.approx(by_loops(u, p, n), abs=1e-14)


@ONE_OR_MORE
def test_items_that_score_alike_cost_log_2(shape):
    u, item = normal(6, 4), normal(4, seed=1)
    assert bpr(u, item.expand(6, 4), item.expand(shape)).item() == pytest.approx(math.log(2), abs=1e-15)


def test_the_worst_pair_keeps_its_loss_and_gradient():
    u, p = torch.tensor([[100.0]], requires_grad=True), torch.tensor([[-1.0]], requires_grad=True)
    loss = bpr(u, p, torch.tensor([[1.0]]))
    loss.backward()
    assert loss.item() == 200
    assert (u.grad.item(), p.grad.item()) == (2, -100)


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_users_times_a_number_equal_items_times_it(factor, seed):
    u, p, n = normal(5, 3, seed=seed), normal(5, 3, seed=seed + 100), normal(5, 2, 3, seed=seed + 200)
    torch.testing.assert_close(bpr(factor * u, p, n), bpr(u, factor * p, factor * n), rtol=1e-11, atol=1e-13)


def test_swapping_both_items_changes_the_loss_by_their_difference():
    u, p, n = normal(5, 3), normal(5, 3, seed=1), normal(5, 3, seed=2)
    torch.testing.assert_close(bpr(u, n, p) - bpr(u, p, n), (u * (p - n)).sum(1).mean())
