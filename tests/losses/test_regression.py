"""BYOL and SimSiam regression: loops, closed forms, the stop-gradient, invariances, shares of ranks."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.errors import ConfigError, DataError
from nearfar.losses import (
    BYOLLoss,
    NegativeCosineSimilarity,
    SimSiamLoss,
    byol,
    negative_cosine,
    simsiam,
)

SYMMETRIC = pytest.mark.parametrize("loss", [simsiam, byol])


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def cosine(x, y):
    dot = sum(a * b for a, b in zip(x, y, strict=True))
    return dot / math.sqrt(sum(a * a for a in x)) / math.sqrt(sum(b * b for b in y))


def by_loops(p, z):
    """The mean cosine of predictions and targets of different views, one pair after the other."""
    v, b, _ = p.shape
    pairs = [(k, w) for k in range(v) for w in range(v) if w != k]
    cosines = [cosine(p[k, i].tolist(), z[w, i].tolist()) for k, w in pairs for i in range(b)]
    return sum(cosines) / len(cosines)


def test_one_direction_by_loops():
    p, z = normal(5, 4), normal(5, 4, seed=1)
    expected = -sum(cosine(x, y) for x, y in zip(p.tolist(), z.tolist(), strict=True)) / 5
    assert negative_cosine(p, z).item() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("views", [2, 3])
def test_symmetric_forms_by_loops(views):
    p, z = normal(views, 5, 4), normal(views, 5, 4, seed=1)
    assert simsiam(p, z).item() == pytest.approx(-by_loops(p, z), abs=1e-14)
    assert byol(p, z).item() == pytest.approx(2 * (2 - 2 * by_loops(p, z)), abs=1e-14)


def test_two_views_are_half_of_each_direction_and_for_byol_the_squared_distances_of_both():
    (p1, p2), (z1, z2) = normal(2, 6, 3), normal(2, 6, 3, seed=1)
    halves = negative_cosine(p1, z2) / 2 + negative_cosine(p2, z1) / 2
    torch.testing.assert_close(simsiam([p1, p2], [z1, z2]), halves)
    u = [x / x.norm(dim=1, keepdim=True) for x in (p1, p2, z1, z2)]
    squares = (u[0] - u[3]).square().sum(1).mean() + (u[1] - u[2]).square().sum(1).mean()
    torch.testing.assert_close(byol([p1, p2], [z1, z2]), squares)


@pytest.mark.parametrize(("sign", "cos"), [(1, 1), (-1, -1)])
def test_predictions_along_their_targets_and_against_them(sign, cos):
    z = normal(5, 4)
    assert negative_cosine(3 * sign * z, z).item() == pytest.approx(-cos)
    assert simsiam([sign * z, sign * z], [z, z]).item() == pytest.approx(-cos)
    assert byol([sign * z, sign * z], [z, z]).item() == pytest.approx(4 - 4 * cos, abs=1e-14)


def test_a_view_is_never_its_own_target():
    x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert simsiam([x, y], [x, y]).item() == 0


@SYMMETRIC
def test_targets_get_no_gradient(loss):
    p, z = normal(2, 4, 3).requires_grad_(), normal(2, 4, 3, seed=1).requires_grad_()
    (loss(p, z) + negative_cosine(p[0], z[0])).backward()
    assert z.grad is None
    assert p.grad.abs().max() > 0


def test_gradcheck():
    z = normal(3, 4, 5, seed=1)
    p = normal(3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: (simsiam(p, z), byol(p, z), negative_cosine(p[0], z[0])), (p,))


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(1e-6, 1e6), seed=st.integers(0, 99))
def test_the_length_of_embeddings_does_not_matter(factor, seed):
    p, z = normal(2, 5, 4, seed=seed), normal(2, 5, 4, seed=seed + 100)
    torch.testing.assert_close(byol(p * factor, z / factor), byol(p, z), rtol=1e-12, atol=1e-13)


@settings(max_examples=15, deadline=None)
@given(b=st.integers(1, 9), views=st.integers(2, 4), seed=st.integers(0, 99))
def test_the_order_of_samples_and_of_views_does_not_matter(b, views, seed):
    p, z = normal(views, b, 4, seed=seed), normal(views, b, 4, seed=seed + 100)
    generator = torch.Generator().manual_seed(seed)
    v, i = torch.randperm(views, generator=generator), torch.randperm(b, generator=generator)
    torch.testing.assert_close(simsiam(p[v][:, i], z[v][:, i]), simsiam(p, z), rtol=1e-12, atol=1e-13)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99))
def test_a_rotation_of_the_space_does_not_matter(seed):
    p, z, turn = normal(2, 5, 4, seed=seed), normal(2, 5, 4, seed=seed + 100), torch.linalg.qr(normal(4, 4, seed=7))[0]
    torch.testing.assert_close(simsiam(p @ turn, z @ turn), simsiam(p, z), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("loss", [simsiam, byol, lambda p, z, **options: negative_cosine(p[0], z[1], **options)])
@pytest.mark.parametrize("cuts", [(0, 3, 7), (0, 0, 5, 7)], ids=["two", "one-empty"])
def test_shares_of_ranks_sum_to_the_whole(loss, cuts):
    p, z = normal(2, 7, 4).requires_grad_(), normal(2, 7, 4, seed=1)
    whole = loss(p, z)
    shares = sum(loss(p, z, rows=slice(i, j)) for i, j in itertools.pairwise(cuts))
    torch.testing.assert_close(shares, whole)
    torch.testing.assert_close(torch.autograd.grad(shares, p), torch.autograd.grad(whole, p))


@SYMMETRIC
def test_reductions_agree(loss):
    p, z = normal(3, 6, 4), normal(3, 6, 4, seed=1)
    each = loss(p, z, reduction="none")
    assert each.shape == (3, 6)
    torch.testing.assert_close(each.mean(), loss(p, z))
    torch.testing.assert_close(each.sum(), loss(p, z, reduction="sum"))
    torch.testing.assert_close(each[:, 2:4], loss(p, z, reduction="none", rows=slice(2, 4)))
    assert negative_cosine(p[0], z[1], reduction="none", rows=slice(1, 3)).shape == (2,)


def test_a_zero_vector_has_a_finite_loss_and_gradient_0():
    p, z = normal(2, 4, 3), normal(2, 4, 3, seed=1)
    p[0, 1], z[1, 2] = 0, 0
    p.requires_grad_()
    loss = byol(p, z)
    loss.backward()
    assert loss.isfinite()
    assert p.grad.isfinite().all()
    assert p.grad[0, 1].eq(0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_exact_for_the_given_numbers_in_any_precision(dtype):
    p, z = normal(2, 40, 16, dtype=dtype).requires_grad_(), normal(2, 40, 16, seed=1, dtype=dtype)
    loss = byol(p, z)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(byol(p.double(), z.double()).item(), rel=1e-6)
    assert p.grad.dtype == dtype
    assert p.grad.isfinite().all()


def test_modules_are_the_functions():
    p, z = normal(2, 5, 4), normal(2, 5, 4, seed=1)
    assert SimSiamLoss()(p, z).equal(simsiam(p, z))
    assert BYOLLoss(reduction="sum")(p, z).equal(byol(p, z, reduction="sum"))
    assert repr(BYOLLoss()) == "BYOLLoss(reduction='mean')"
    assert repr(SimSiamLoss()) == "SimSiamLoss(reduction='mean')"


def test_either_argument_of_the_module_may_be_the_target():
    p, z = normal(5, 4).requires_grad_(), normal(5, 4, seed=1)
    module = NegativeCosineSimilarity()
    expected = torch.autograd.grad(negative_cosine(p, z), p)
    torch.testing.assert_close(torch.autograd.grad(module(p, z), p), expected)
    torch.testing.assert_close(torch.autograd.grad(module(z, p), p), expected)
    assert repr(module) == "NegativeCosineSimilarity(dim=1, eps=1e-08)"


def test_the_module_takes_embeddings_along_any_dimension():
    p, z = normal(2, 5, 4), normal(2, 5, 4, seed=1)
    expected = negative_cosine(p.reshape(10, 4), z.reshape(10, 4))
    for dim in (0, 1, 2, -1):
        moved = NegativeCosineSimilarity(dim=dim)(p.movedim(-1, dim), z.movedim(-1, dim))
        torch.testing.assert_close(moved, expected)


def test_the_module_takes_vectors_shorter_than_eps_as_0():
    p, z = normal(3, 4), normal(3, 4, seed=1)
    p[0] *= 1e-9
    kept, dropped = (NegativeCosineSimilarity(eps=eps)(p, z) for eps in (0.0, 1e-8))
    torch.testing.assert_close(kept, negative_cosine(p, z))
    torch.testing.assert_close(dropped, negative_cosine(p[1:], z[1:]) * 2 / 3)


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda z: negative_cosine(z, z[:2]), DataError, r"predictions \[3, 4\], targets \[2, 4\]"),
        (lambda z: negative_cosine(z, z, reduction="mean_active"), ConfigError, "every anchor counts"),
        (lambda z: negative_cosine(z.long(), z.long()), DataError, "floating point"),
        (lambda z: simsiam([z], [z]), DataError, "two views or more, got 1 predictions and 1 targets"),
        (lambda z: byol([z, z], [z, z, z]), DataError, "got 2 predictions and 3 targets"),
        (lambda z: byol([z, z], [z, z[:1]]), DataError, r"targets\[1\] \[1, 4\]"),
        (lambda z: byol([z, z], [z, z], reduction="avg"), ConfigError, "'mean', 'sum', 'none', got 'avg'"),
        (lambda z: BYOLLoss(reduction="mean_active"), ConfigError, "every anchor counts"),
        (lambda z: SimSiamLoss(reduction="avg"), ConfigError, "got 'avg'"),
        (lambda z: NegativeCosineSimilarity()(z, z[:2]), DataError, r"one shape.*\[3, 4\] and \[2, 4\]"),
        (lambda z: NegativeCosineSimilarity(dim=2)(z, z), DataError, "a dimension 2"),
        (lambda z: NegativeCosineSimilarity(eps=-1), ConfigError, "eps must be >= 0, got -1"),
    ],
)
def test_mistakes_are_named(run, error, message):
    with pytest.raises(error, match=message):
        run(torch.ones(3, 4))
