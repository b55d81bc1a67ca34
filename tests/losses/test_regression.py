"""BYOL and SimSiam regression: loops, closed forms, the stop-gradient."""

import math

import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.losses import (
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
        (lambda z: negative_cosine(z.long(), z.long()), DataError, "floating point"),
        (lambda z: simsiam([z], [z]), DataError, "two views or more, got 1 predictions and 1 targets"),
        (lambda z: byol([z, z], [z, z, z]), DataError, "got 2 predictions and 3 targets"),
        (lambda z: byol([z, z], [z, z[:1]]), DataError, r"targets\[1\] \[1, 4\]"),
        (lambda z: byol([z, z], [z, z], reduction="avg"), ConfigError, "'mean', 'sum', 'none', got 'avg'"),
        (lambda z: SimSiamLoss(reduction="avg"), ConfigError, "got 'avg'"),
        (lambda z: NegativeCosineSimilarity()(z, z[:2]), DataError, r"one shape.*\[3, 4\] and \[2, 4\]"),
        (lambda z: NegativeCosineSimilarity(dim=2)(z, z), DataError, "a dimension 2"),
        (lambda z: NegativeCosineSimilarity(eps=-1), ConfigError, "eps must be >= 0, got -1"),
    ],
)
def test_mistakes_are_named(run, error, message):
    with pytest.raises(error, match=message):
        run(torch.ones(3, 4))
