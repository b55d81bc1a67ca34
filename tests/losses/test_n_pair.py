"""N-pair: known value, cross-entropy of dot products, ids."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.losses import n_pair

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@TILED
def test_published_value(implementation, case):
    known = case("npair_mc")
    found = n_pair(known["inputs"]["anchor"], known["inputs"]["positive"], implementation=implementation)
    assert found.item() == pytest.approx(known["value"], abs=1e-14)


@TILED
@pytest.mark.parametrize("ids", [None, torch.tensor([0, 1, 0, 2, 1])], ids=["plain", "ids"])
def test_value_and_gradient_of_the_cross_entropy(ids, implementation):
    a, p = normal(5, 4).requires_grad_(), normal(5, 4, seed=1).requires_grad_()
    logits = a @ p.T
    if ids is not None:
        logits = logits.masked_fill((ids[:, None] == ids) & ~torch.eye(5, dtype=torch.bool), -torch.inf)
    expected = F.cross_entropy(logits, torch.arange(5))
    found = n_pair(a, p, ids=ids, implementation=implementation)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, (a, p)), torch.autograd.grad(expected, (a, p)))


@TILED
@pytest.mark.parametrize("b", [1, 7])
def test_coinciding_embeddings_give_log_of_the_pairs(b, implementation):
    ones = torch.ones(b, 3)
    assert n_pair(ones, ones, implementation=implementation).item() == pytest.approx(math.log(b), abs=1e-6)


def test_the_length_of_embeddings_matters():
    a, p = normal(5, 4), normal(5, 4, seed=1)
    assert (n_pair(2 * a, p) - n_pair(a, p)).abs() > 0.1
    torch.testing.assert_close(n_pair(2 * a, p / 2), n_pair(a, p))


@TILED
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_pitfall_12_half_precision_does_not_overflow(dtype, implementation):
    a = (30 * normal(20, 8)).to(dtype).requires_grad_()
    loss = n_pair(a, a.detach().roll(1, 0), implementation=implementation)
    loss.backward()
    exact = n_pair(a.detach().double(), a.detach().double().roll(1, 0))
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    assert exact > 88
    assert a.grad.isfinite().all()
