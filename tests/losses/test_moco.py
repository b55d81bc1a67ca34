"""MoCo's loss: known value and gradient, the queue, who gets gradients."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.errors import DataError
from nearfar.losses import MoCoLoss, moco

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_cross_entropy(q, k, queue, temperature, ruled_out=None):
    q, k, queue = (F.normalize(z) for z in (q, k, queue))
    others = q @ queue.T
    others = others if ruled_out is None else others.masked_fill(ruled_out, -torch.inf)
    logits = torch.cat([(q * k).sum(1, keepdim=True), others], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))


@TILED
def test_known_value_and_numeric_gradient(implementation, case):
    known = case("moco_queue_t0.07")
    q, k, queue = (known["inputs"][name] for name in ("q", "k", "queue"))
    q.requires_grad_()
    loss = moco(q, k, queue, implementation=implementation)
    loss.backward()
    assert loss.item() == pytest.approx(known["value"], abs=1e-13)
    torch.testing.assert_close(q.grad, torch.tensor(known["grad_q"]).double(), rtol=0, atol=5e-8)
    assert MoCoLoss()(q, k, queue).item() == pytest.approx(known["value"], abs=1e-13)


@TILED
def test_keys_and_queue_get_no_gradient(implementation):
    q, k, queue = (normal(n, 4, seed=n).requires_grad_() for n in (5, 5, 9))
    moco(q, k + 0.1, queue, implementation=implementation).backward()
    assert k.grad is None
    assert queue.grad is None
    assert q.grad.abs().max() > 0


@TILED
def test_equal_ids_in_the_queue_are_no_negatives(implementation):
    q, k, queue = normal(4, 3), normal(4, 3, seed=1), normal(6, 3, seed=2)
    ids, queue_ids = torch.tensor([7, 8, 9, 7]), torch.tensor([1, 9, 7, 7, 8, 2])
    got = moco(q, k, queue, ids=ids, queue_ids=queue_ids, implementation=implementation)
    torch.testing.assert_close(got, by_cross_entropy(q, k, queue, 0.07, ids[:, None] == queue_ids))


@TILED
def test_a_queue_that_holds_the_keys_already_costs_at_least_log_2(implementation):
    """Why the keys are put in the queue after the loss; their ids would leave them out."""
    q, queue = normal(4, 3), normal(6, 3, seed=2)
    stale = torch.cat([queue, q])
    at = {"ids": torch.arange(4), "queue_ids": torch.tensor([-1] * 6 + [0, 1, 2, 3])}
    each = moco(q, q, stale, reduction="none", implementation=implementation)
    assert (each >= math.log(2) - 1e-12).all()
    assert moco(q, q, stale, implementation=implementation, **at) < moco(q, q, stale, implementation=implementation)


@TILED
def test_an_empty_queue_has_nothing_to_tell_apart(implementation):
    q, k = normal(4, 3).requires_grad_(), normal(4, 3, seed=1)
    loss = moco(q, k, torch.zeros(0, 3).double(), implementation=implementation)
    loss.backward()
    assert loss.item() == 0
    assert q.grad.eq(0).all()


def test_coinciding_embeddings_give_log_of_the_keys():
    ones = torch.ones(3, 4)
    assert moco(ones, ones, torch.ones(9, 4)).item() == pytest.approx(math.log(10))


@pytest.mark.parametrize(
    ("queue", "options", "error", "message"),
    [
        ((2, 5), {}, DataError, r"queue must be keys \[K, 4\], one a row, got shape \[2, 5\]"),
        ((2, 4), {"ids": torch.arange(3)}, DataError, "ids and queue_ids say something only together"),
        ((2, 4), {"ids": torch.arange(3), "queue_ids": torch.arange(3)}, DataError, "each of the 5 samples"),
    ],
)
def test_mistakes_are_named(queue, options, error, message):
    with pytest.raises(error, match=message):
        moco(torch.ones(3, 4), torch.ones(3, 4), torch.ones(queue), **options)
