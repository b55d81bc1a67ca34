"""BPR: the published value, loops, closed forms, the worst pairs, invariances, shares of ranks."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.errors import ConfigError, DataError
from nearfar.losses import BPRLoss, bpr

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


@ONE_OR_MORE
def test_gradcheck(shape):
    inputs = normal(6, 4), normal(6, 4, seed=1), normal(*shape, seed=2)
    assert torch.autograd.gradcheck(bpr, [z.requires_grad_() for z in inputs])


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_users_times_a_number_equal_items_times_it(factor, seed):
    u, p, n = normal(5, 3, seed=seed), normal(5, 3, seed=seed + 100), normal(5, 2, 3, seed=seed + 200)
    torch.testing.assert_close(bpr(factor * u, p, n), bpr(u, factor * p, factor * n), rtol=1e-11, atol=1e-13)


@settings(max_examples=15, deadline=None)
@given(b=st.integers(1, 9), k=st.integers(1, 5), seed=st.integers(0, 99))
def test_order_and_what_all_items_share_do_not_matter(b, k, seed):
    u, p, n = normal(b, 3, seed=seed), normal(b, 3, seed=seed + 100), normal(b, k, 3, seed=seed + 200)
    generator = torch.Generator().manual_seed(seed)
    i, j = torch.randperm(b, generator=generator), torch.randperm(k, generator=generator)
    torch.testing.assert_close(bpr(u[i], p[i] + 1, n[i][:, j] + 1), bpr(u, p, n), rtol=1e-11, atol=1e-12)


def test_swapping_both_items_changes_the_loss_by_their_difference():
    u, p, n = normal(5, 3), normal(5, 3, seed=1), normal(5, 3, seed=2)
    torch.testing.assert_close(bpr(u, n, p) - bpr(u, p, n), (u * (p - n)).sum(1).mean())


@ONE_OR_MORE
@pytest.mark.parametrize("cuts", [(0, 2, 6), (0, 0, 5, 6)], ids=["two", "one-empty"])
def test_shares_of_ranks_sum_to_the_whole(cuts, shape):
    inputs = [z.requires_grad_() for z in (normal(6, 4), normal(6, 4, seed=1), normal(*shape, seed=2))]
    shares = sum(bpr(*inputs, rows=slice(i, j)) for i, j in itertools.pairwise(cuts))
    torch.testing.assert_close(shares, bpr(*inputs))
    torch.testing.assert_close(torch.autograd.grad(shares, inputs), torch.autograd.grad(bpr(*inputs), inputs))


@ONE_OR_MORE
def test_reductions_agree(shape):
    inputs = normal(6, 4), normal(6, 4, seed=1), normal(*shape, seed=2)
    each = bpr(*inputs, reduction="none")
    assert each.shape == shape[:-1]
    torch.testing.assert_close(each.mean(), bpr(*inputs))
    torch.testing.assert_close(each.sum(), bpr(*inputs, reduction="sum"))
    torch.testing.assert_close(each[2:4], bpr(*inputs, reduction="none", rows=slice(2, 4)))


@ONE_OR_MORE
def test_zero_vectors_have_a_finite_gradient(shape):
    inputs = [torch.zeros(s, requires_grad=True) for s in ((6, 4), (6, 4), shape)]
    bpr(*inputs).backward()
    assert all(z.grad.isfinite().all() for z in inputs)


@ONE_OR_MORE
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_exact_for_the_given_numbers_in_any_precision(shape, dtype):
    # Scores of about 400 are beyond what exp takes in half precision.
    inputs = [(10 * z).to(dtype) for z in (normal(6, 4), normal(6, 4, seed=1), normal(*shape, seed=2))]
    inputs = [z.requires_grad_() for z in inputs]
    loss = bpr(*inputs)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(bpr(*[z.detach().double() for z in inputs]).item(), rel=1e-6)
    assert all(z.grad.dtype == dtype and z.grad.isfinite().all() for z in inputs)


def test_the_module_is_the_function():
    inputs = normal(6, 4), normal(6, 4, seed=1), normal(6, 2, 4, seed=2)
    assert BPRLoss(reduction="sum")(*inputs).equal(bpr(*inputs, reduction="sum"))
    assert repr(BPRLoss()) == "BPRLoss(reduction='mean')"


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda z: bpr(z, z[:2], z), DataError, r"users \[3, 4\], positives \[2, 4\]"),
        (
            lambda z: bpr(z, z, z[:2]),
            DataError,
            r"negatives must be \[3, 4\] or \[3, K, 4\], K >= 1, got shape \[2, 4\]",
        ),
        (lambda z: bpr(z, z, z[:, None, :2]), DataError, r"got shape \[3, 1, 2\]"),
        (lambda z: bpr(z, z, torch.ones(3, 0, 4)), DataError, r"got shape \[3, 0, 4\]"),
        (lambda z: bpr(z, z, z, reduction="mean_active"), ConfigError, "every anchor counts"),
        (lambda z: bpr(z.long(), z, z), DataError, "floating point"),
        (lambda z: BPRLoss(reduction="avg"), ConfigError, "got 'avg'"),
    ],
)
def test_mistakes_are_named(run, error, message):
    with pytest.raises(error, match=message):
        run(torch.ones(3, 4))
